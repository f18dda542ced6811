"""Topologies of the user's own: functions by their names, and what installed packages offer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from topology import graphs, mixing, sequences
from topology.catalogue import build, families, find_family
from topology.catalogue.registry import GROUP
from topology.errors import InvalidParameter, MalformedExpression, NotMixingMatrix, UnknownTopology

OWN = '''
from collections.abc import Sequence
from typing import Annotated, Literal
from annotated_types import Ge
import networkx as nx
import numpy as np
from topology import graphs, sequences
from topology.sequences import MixingSequence

def wheel(n: int, spokes: Annotated[int, "links of the hub"] = 3):
    """A wheel whose hub has few spokes.

    And more.
    """
    graph = nx.cycle_graph(range(1, n))
    graph.add_edges_from((0, 1 + i * (n - 1) // spokes) for i in range(spokes))
    return graph

def a_topology(n: int): return graphs.ring(n)
def a_sequence(n: int, k: int = 1) -> MixingSequence: return sequences.base(n, k)
def a_matrix(n: int): return np.full((n, n), 1 / n)
def no_matrix(n: int): return np.ones((n, n))
def annotated(n: Annotated[int, Ge(2)], shape: Sequence[int], how: Literal["at_once", "in turn"] = "in turn"):
    """Return a ring.

    Parameters
    ----------
    n, rest : int
        Number of nodes: not `few`.
    shape : sequence of int
    how : {"at_once", "in turn"}
        In what order. And more.

    Returns
    -------
    Topology
        The ring.
    """
    return graphs.ring({"at_once": n, "in turn": 2 * n}[how])

def nothing(): pass
def failing(): return 1 / 0
def any_number(*numbers): return graphs.ring(len(numbers))
def options(n, shape=(2, 2), lazy=False, rate=0.5): return graphs.ring(n)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_topologies.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "own_topologies"
    sys.modules.pop("own_topologies", None)


def test_whatever_a_function_returns_becomes_a_topology(own):
    wheel = build(f"{own}:wheel:n=9,spokes=4").graph
    hub = wheel.labels.index(0)
    assert (wheel.degrees[hub], wheel.number_of_edges) == (4, 8 + 4)
    ring = build(f"{own}:a_topology:n=6").graph
    assert ring.edges().tolist() == graphs.ring(6).edges().tolist()
    sequence = build(f"{own}:a_sequence:n=25,k=2").sequence
    assert abs(sequence.matrix(1) - sequences.base(25, 2).matrix(1)).max() == 0
    assert build(f"{own}:a_matrix:n=5").sequence.matrix(0).toarray() == pytest.approx(np.full((5, 5), 0.2))


def test_links_of_ones_own_graph_weigh_and_are_relabelled_like_others(own):
    W = build(f"{own}:a_topology:n=6,weights=lazy").sequence.matrix(0)
    assert abs(W - mixing.lazy(mixing.metropolis_hastings(graphs.ring(6)))).max() == 0
    W = build(f"{own}:a_topology:n=6,shuffled=2").sequence.matrix(0)
    assert abs(W - build("ring:6,shuffled=2").sequence.matrix(0)).max() == 0


def test_n_is_implied_where_the_function_takes_it(own):
    named = build(f"{own}:wheel", implied={"n": 12, "seed": 1})
    assert (named.n, named.name) == (12, f"{own}:wheel:n=12")


def test_signature_and_docstring_say_what_it_is(own):
    family = find_family(f"{own}:wheel")
    n, spokes = family.parameters
    assert (n.reading, n.required, spokes.default) == ("whole number", True, 3)
    assert spokes.description == "links of the hub"
    assert family.summary == "A wheel whose hub has few spokes"
    assert family.usage == f"{own}:wheel:n=N,spokes=3"
    assert (family.kind, find_family(f"{own}:a_sequence").kind) == ("graph or sequence", "sequence")


def test_bounds_choices_and_docstrings_of_ones_own_function_are_read(own):
    n, shape, how = find_family(f"{own}:annotated").parameters
    assert (n.bounds, n.description) == ("whole number ≥ 2", "number of nodes")
    assert (shape.reading, shape.description) == ("shape", "")
    assert (how.bounds, how.description, how.default) == ("at_once or in turn", "in what order", "in turn")
    assert build(f"{own}:annotated:n=4,shape=2x2,how=At-Once").n == 4
    assert build(f"{own}:annotated:n=4,shape=2x2").n == 8


@pytest.mark.parametrize(
    ("expression", "kind", "says"),
    [
        ("wheel", MalformedExpression, r"n is missing\. Write own_topologies:wheel:n=N,spokes=3"),
        ("wheel:9", MalformedExpression, "'9' is one value too many"),
        ("wheel:n=9,spoke=4", MalformedExpression, "Did you mean 'spokes'"),
        ("wheel:n=nine", MalformedExpression, "n takes a whole number, not 'nine'"),
        ("wheal:n=9", UnknownTopology, "Did you mean own_topologies:wheel"),
        ("no_matrix:n=3", NotMixingMatrix, "sum"),
        ("nothing", InvalidParameter, "returned no topology; expected a networkx graph.*got NoneType"),
        ("failing", InvalidParameter, "failing failed; got ZeroDivisionError"),
        ("any_number", InvalidParameter, "expected arguments that have names"),
    ],
)
def test_slips_are_named(own, expression, kind, says):
    with pytest.raises(kind, match=says):
        build(f"{own}:{expression}")


def test_values_without_annotation_are_read_as_toml_would(own):
    read = build(f"{own}:options:n=5,lazy=yes,rate=1e-3").expression
    assert read.values == {"n": 5, "shape": (2, 2), "lazy": True, "rate": 1e-3}


def test_an_installed_package_offers_topologies_by_name(installed):
    installed("wheels", OWN, {GROUP: {"wheel": "wheels:wheel", "broken": "no_such_module:x"}})
    wheel = build("wheel:9,spokes=4").graph
    assert wheel.degrees[wheel.labels.index(0)] == 4
    assert find_family("wheel").usage == "wheel:N,spokes=3"
    with pytest.raises(UnknownTopology, match="Did you mean 'wheel'"):
        find_family("wheal")
    with pytest.raises(
        InvalidParameter, match="'broken' of the installed no_such_module:x cannot be imported"
    ):
        families()
