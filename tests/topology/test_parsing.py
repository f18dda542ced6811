"""JSON and TOML of others: one kind of error, and nobody who parses them otherwise."""

import ast
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gossipfl
import sims
import topology
from topology.parsing import json_of, toml_of

DEEP = 200_000
PARSERS = ("json.load", "json.loads", "tomllib.load", "tomllib.loads", "np.load", "torch.load")
PACKAGES = [Path(each.__file__).parent for each in (topology, gossipfl, sims)]


@pytest.mark.parametrize(
    "text",
    ["[" * DEEP, '{"a":' * DEEP, b"[" * DEEP, "1" * 5000, b"\xff", "", '{"a": nan}', "\ud800"],
    ids=range(8),
)
def test_what_is_no_json_is_one_kind_of_error(text):
    with pytest.raises(ValueError):
        json_of(text)


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * DEEP, "a = " + "{b=" * DEEP, "a = " + "1" * 5000, "a", "a = 0x" + "g"],
    ids=range(5),
)
def test_what_is_no_toml_is_one_kind_of_error(text):
    with pytest.raises(tomllib.TOMLDecodeError):
        toml_of(text)


@given(st.text() | st.text(alphabet='[]{}",:=0123456789.e+-\n'))
def test_any_text_is_parsed_or_named(text):
    for parse, error in ((json_of, ValueError), (toml_of, tomllib.TOMLDecodeError)):
        try:
            parse(text)
        except error:
            continue


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_nobody_parses_texts_otherwise(package):
    for path in package.rglob("*.py"):
        if path.name in ("parsing.py", "arrays.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used = f"{node.value.id}.{node.attr}"
                assert used not in PARSERS, path
