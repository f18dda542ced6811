"""Examples in docstrings: they run, and everything public has one."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gossipfl", "topology", "sims")
PUBLIC = ("gossipfl", "gossipfl.algorithms", "topology", "sims")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__main__.py" and re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module(name.removesuffix(".__init__"))
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testmod(module, optionflags=options)
    assert tried
    assert not failed


@pytest.mark.parametrize("package", PUBLIC)
def test_everything_public_has_an_example(package):
    module = importlib.import_module(package)
    objects = {name: getattr(module, name) for name in module.__all__}
    missing = [
        name
        for name, value in objects.items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and ">>>" not in (inspect.getdoc(value) or "")
    ]
    assert missing == []
