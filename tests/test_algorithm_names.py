"""Whoever runs message-driven algorithms knows what they declare, and none of them by class or name."""

import ast
from pathlib import Path

import pytest

from gossipfl.algorithms.registry import bundled

ROOT = Path(__file__).parents[1]
ALGORITHMS = [each for each in bundled().values() if each.kind == "messages"]
CLASSES = {each.__name__ for each in ALGORITHMS}
NAMES = {name for each in ALGORITHMS for name in (each.name, *each.also_called)}
#: Modules that choose one, and how often.
CHOICES = {"gossipfl/settings/learning.py": ["gossip_learning"]}  # what a peer runs unless told otherwise
MODULES = [
    path
    for package in ("gossipfl", "sims", "topology")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.parent != ROOT / "gossipfl" / "algorithms" / "gossip"
]


def mentions(source):
    """Classes and names of algorithms that code mentions; text that merely speaks of one is none."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in CLASSES:
                yield name
            case ast.Constant(value=str() as name) if name in NAMES | CLASSES:
                yield name


def test_there_is_something_to_look_for():
    assert {"GossipLearning", "ADPSGD", "PushSum"} <= CLASSES
    assert {"gossip_learning", "ad_psgd", "push_sum"} <= NAMES
    assert len(MODULES) > 200


@pytest.mark.parametrize(
    "code",
    [
        "from gossipfl.algorithms import ADPSGD",
        "isinstance(rule, algorithms.PushSum)",
        "settings.algorithm == 'ad_psgd'",
        "match rule:\n    case GossipLearning():\n        pass",
        "{'push_sum': 1}",
    ],
)
def test_whoever_asks_for_one_is_found(code):
    assert list(mentions(code))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_knows_a_message_driven_algorithm(path):
    found = list(mentions(path.read_text(encoding="utf-8")))
    assert found == CHOICES.get(path.relative_to(ROOT).as_posix(), [])
