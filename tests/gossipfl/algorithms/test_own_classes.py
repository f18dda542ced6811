"""Classes of the user's own that are not usable algorithms, refused by name."""

import pytest

from gossipfl.algorithms.registry import find_algorithm
from gossipfl.errors import InvalidAlgorithm

MODULE = """
from dataclasses import dataclass
from gossipfl.algorithms import RoundAlgorithm

class Plain(RoundAlgorithm):
    beta: float = 0.5

@dataclass
class Thawed(RoundAlgorithm):
    beta: float = 0.5

@dataclass(frozen=True)
class Frozen(RoundAlgorithm):
    beta: float = 0.5

class Other:
    pass

def graph(n):
    return n
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "classes_to_refuse.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Plain",
            r"expected a frozen dataclass; got a plain class.*@dataclass\(frozen=True\) above class Plain",
        ),
        ("Thawed", "expected a frozen dataclass; got a dataclass that is not frozen.*above class Thawed"),
        ("Other", "is not an algorithm; expected a frozen dataclass derived from .*; got Other$"),
        ("graph", "is not an algorithm; expected a frozen dataclass derived from .*; got graph$"),
    ],
)
def test_they_are_refused_by_name(directory, name, said):
    with pytest.raises(InvalidAlgorithm, match=said):
        find_algorithm(f"classes_to_refuse:{name}", directory=directory)


def test_a_frozen_dataclass_is_found(directory):
    assert find_algorithm("classes_to_refuse:Frozen", directory=directory).__name__ == "Frozen"
