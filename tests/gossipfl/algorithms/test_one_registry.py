"""Nothing outside an algorithm's own module knows its class or its name."""

import ast
from pathlib import Path

import pytest

from gossipfl.algorithms.registry import bundled

ROOT = Path(__file__).parents[3]
SOURCES = [
    file
    for package in ("gossipfl", "sims")
    for file in sorted((ROOT / package).rglob("*.py"))
    if not file.is_relative_to(ROOT / "gossipfl/algorithms")
]
NAMES = {name for declared in bundled().values() for name in (declared.name, *declared.also_called)}
CLASSES = {declared.__name__ for declared in bundled().values()}
#: What all rounds and messages share stands beside the algorithms.
SHARED = {"gossipfl.algorithms.gossip.flow", "gossipfl.algorithms.gossip.sharing"}


def imports_of(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def compared_strings(tree: ast.AST):
    """Strings that code compares with, matches, or looks up a case by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for part in (node.left, *node.comparators):
                yield from (each.value for each in ast.walk(part) if isinstance(each, ast.Constant))
        elif isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            yield node.value.value


def findings(source: str) -> list[str]:
    tree, found = ast.parse(source), []
    for module, name in imports_of(tree):
        own = module.startswith(("gossipfl.algorithms.rounds", "gossipfl.algorithms.gossip"))
        if (own and module not in SHARED) or (module == "gossipfl.algorithms" and name in CLASSES):
            found.append(f"imports {name or module}")
    found += [f"compares with {text!r}" for text in compared_strings(tree) if text in NAMES]
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_tests_for_an_algorithm(file):
    assert findings(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from gossipfl.algorithms.rounds.choco import ChocoSGD",
        "import gossipfl.algorithms.gossip.push_sum",
        "from gossipfl.algorithms import DPSGD",
        "x = name == 'ad_psgd'",
        "x = name in ('relay_sgd', 'sgp')",
        "match name:\n    case 'push_sum': pass",
    ],
)
def test_the_test_sees_what_it_looks_for(source):
    assert len(findings(source)) >= 1
