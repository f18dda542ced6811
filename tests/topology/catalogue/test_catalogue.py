"""Every family by its expression, and every slip of the keyboard by its error."""

from __future__ import annotations

import numpy as np
import pytest

from topology import graphs, mixing, sequences
from topology.catalogue import FAMILIES, build, find_family, parse
from topology.errors import (
    Disconnected,
    InvalidParameter,
    MalformedExpression,
    UnknownNetwork,
    UnknownTopology,
)


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family.name != "file"], ids=lambda family: family.name
)
def test_every_example_builds_what_its_family_says(family):
    named = build(family.example)
    assert named.expression.family is family
    assert (named.graph is None) == family.is_sequence
    if named.graph is not None:
        assert named.graph.directed == (family.kind == "directed graph")
    assert (named.sequence.period is None) == (family.kind == "random sequence")
    W = named.sequence.matrix(0)
    assert np.asarray(W.sum(axis=1)) == pytest.approx(np.ones(named.sequence.n))
    assert family.summary
    assert family.citation
    assert family.usage.startswith(f"{family.name}:")


def test_names_are_unique():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torus:8x8", graphs.torus((8, 8))),
        ("random-regular:20,4,seed=3", graphs.random_regular(20, 4, 3)),
        ("RANDOM_REGULAR: 20 , seed=3 , degree=4", graphs.random_regular(20, 4, 3)),
        ("tree:2,depth=3", graphs.tree(2, 3)),
    ],
)
def test_an_expression_names_the_graph_the_function_makes(text, expected):
    graph = build(text).graph
    assert np.array_equal(graph.edges(), expected.edges())


def test_a_graph_of_your_own_is_read_from_its_file(tmp_path):
    path = tmp_path / "own.edges"
    path.write_text("a b\nb c\nc a\n")
    assert build(f"file:{path}").graph.number_of_edges == 3


def test_d_cliques_hold_every_class():
    graph = build("d-cliques:20,classes=5,clique_size=5,between=small-world,seed=1").graph
    for clique in range(4):
        assert sorted(np.flatnonzero(graph.groups == clique) % 5) == [0, 1, 2, 3, 4]


def same(sequence, other):
    assert all(abs(sequence.matrix(t) - other.matrix(t)).max() == 0 for t in range(6))


def test_an_expression_names_the_sequence_the_function_makes():
    same(build("base:25,k=2").sequence, sequences.base(25, 2))
    same(build("epidemic:12,s=3,seed=5,mode=local").sequence, sequences.epidemic(12, 3, 5, "local"))
    same(build("equi-static:8,3,seed=1,directed=no").sequence, sequences.equi_static(8, 3, 1, directed=False))
    nested = build("matcha:(random-regular:10,degree=3,seed=2),budget=0.4,seed=7").sequence
    same(nested, sequences.matcha(graphs.random_regular(10, 3, 2), 0.4, 7))
    same(build("base:9,k=2,shuffled=4").sequence, sequences.shuffled(sequences.base(9, 2), 4))


@pytest.mark.parametrize(
    ("weights", "make"),
    [
        ("metropolis-hastings", mixing.metropolis_hastings),
        ("max-degree", mixing.max_degree),
        ("lazy", lambda graph: mixing.lazy(mixing.metropolis_hastings(graph))),
    ],
)
def test_links_weigh_as_asked(weights, make):
    W = build(f"star:6,weights={weights}").sequence.matrix(0)
    assert abs(W - make(graphs.star(6))).max() == 0


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("rnig:8", UnknownTopology, "Did you mean ring"),
        ("hyprecube:3", UnknownTopology, "hypercube"),
        ("", UnknownTopology, "topology list"),
        ("ring", MalformedExpression, "n is missing"),
        ("ring:", MalformedExpression, "n is missing"),
        ("ring:eight", MalformedExpression, "whole number"),
        ("ring:8,9", MalformedExpression, "one value too many"),
        ("ring:8,n=9", MalformedExpression, "given twice"),
        ("torus:8by8", MalformedExpression, "8x8"),
        ("base:25,kk=2", MalformedExpression, "did you mean k"),
        ("matcha:(ring:8", MalformedExpression, "parentheses"),
        ("matcha:rnig:8", UnknownTopology, "ring"),
        ("matcha:(base:8,k=1)", InvalidParameter, "a graph"),
        ("equi-dynamic:8,directed=perhaps", MalformedExpression, "yes or no"),
        ("ring:8,weights=heavy", MalformedExpression, "metropolis-hastings"),
        ("base:8,weights=lazy", MalformedExpression, "no parameter"),
        ("d-cliques:20,between=air", InvalidParameter, "small-world"),
        ("internet:topozoo/Atlantis", UnknownNetwork, "Atlantis"),
        ("ring:0", InvalidParameter, "1"),
    ],
)
def test_slips_are_named(text, error, says):
    with pytest.raises(error, match=says):
        build(text)


def test_reading_builds_nothing():
    read = parse("ring:1_000_000_000")
    assert read.values == {"n": 10**9}
    assert find_family("ring") is read.family


def test_what_cannot_gossip_is_refused():
    with pytest.raises((Disconnected, InvalidParameter)):
        build("random-regular:10,degree=1,seed=1")
