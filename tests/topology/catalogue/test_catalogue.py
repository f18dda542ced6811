"""Every family by its expression, and every slip of the keyboard by its error."""

from __future__ import annotations

import numpy as np
import pytest

from topology import graphs, mixing, sequences
from topology.catalogue import (
    FAMILIES,
    Expression,
    as_table,
    build,
    find_family,
    from_table,
    parse,
)
from topology.cli.export import export
from topology.errors import (
    Disconnected,
    InvalidParameter,
    MalformedExpression,
    UnknownNetwork,
    UnknownTopology,
)

OF_FILES = {"adaptive-matching", "file", "matrix"}


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family.name not in OF_FILES], ids=lambda family: family.name
)
def test_every_example_builds_what_its_family_says(family):
    named = build(family.example)
    assert named.expression.family is family
    assert (named.graph is None) == family.is_sequence
    if named.graph is not None:
        assert named.graph.directed == family.directed
        assert family.random == any(parameter.name == "seed" for parameter in family.parameters)
    else:
        assert named.sequence.symmetric == (not family.directed)
        assert (named.sequence.period is None) == family.random
    W = named.sequence.matrix(0)
    assert np.asarray(W.sum(axis=1)) == pytest.approx(np.ones(named.sequence.n))
    assert family.summary
    assert family.citation
    assert family.usage.startswith(f"{family.name}:")
    assert all(parameter.description for parameter in family.parameters)


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
        ("rnig:8", UnknownTopology, "Did you mean 'ring'"),
        ("hyprecube:3", UnknownTopology, "hypercube"),
        ("", UnknownTopology, "topology list"),
        ("ring", MalformedExpression, "n is missing"),
        ("ring:", MalformedExpression, "n is missing"),
        ("ring:eight", MalformedExpression, "whole number"),
        ("ring:8,9", MalformedExpression, "one value too many"),
        ("ring:8,n=9", MalformedExpression, "given twice"),
        ("torus:8by8", MalformedExpression, "8x8"),
        ("base:25,kk=2", MalformedExpression, "Did you mean 'k'"),
        ("matcha:(ring:8", MalformedExpression, "parentheses"),
        ("matcha:rnig:8", UnknownTopology, "ring"),
        ("matcha:(base:8,k=1)", InvalidParameter, "a graph"),
        ("equi-dynamic:8,directed=perhaps", MalformedExpression, "yes or no"),
        ("ring:8,weights=heavy", MalformedExpression, "metropolis-hastings"),
        ("base:8,weights=lazy", MalformedExpression, "no parameter"),
        ("d-cliques:20,between=air", InvalidParameter, "small-world"),
        ("internet:topozoo/Atlantis", UnknownNetwork, "Atlantis"),
        ("ring:0", InvalidParameter, "1"),
        ("d-cliques:4,labels=(0,1)", InvalidParameter, "one label per node; expected 4 labels; got 2"),
        ("d-cliques:4,labels=1", InvalidParameter, "one label per node"),
        ("matrix:nowhere.npz", FileNotFoundError, "nowhere.npz"),
    ],
)
def test_slips_are_named(text, error, says):
    with pytest.raises(error, match=says):
        build(text)


@pytest.mark.parametrize(
    ("family", "parameter"),
    [
        (family, parameter)
        for family in FAMILIES
        for parameter in family.parameters
        if parameter.least is not None or parameter.most is not None
    ],
    ids=lambda each: each.name,
)
def test_bounds_are_those_of_the_function(family, parameter):
    beyond = [] if parameter.least is None else [parameter.least - 1]
    beyond += [] if parameter.most is None else [parameter.most + 1]
    for value in beyond:
        arguments = dict(parse(family.example).values)
        arguments[parameter.name] = (int(value),) if parameter.reading == "shape" else value
        if isinstance(graph := arguments.get("graph"), Expression):
            arguments["graph"] = build(graph).graph
        with pytest.raises(InvalidParameter):
            family.load()(**arguments)


def test_what_is_implied_fills_what_is_not_given():
    implied = {"n": 24, "seed": lambda: 7, "degree": 100, "labels": None}
    del implied["degree"]
    read = parse("random-regular:degree=4", implied=implied)
    assert read.values == {"n": 24, "degree": 4, "seed": 7}
    assert read.text == "random-regular:24,degree=4,seed=7"
    assert parse("random-regular:8,4,seed=1", implied=implied).text == "random-regular:8,4,seed=1"
    nested = parse("matcha:(random-regular:degree=4),budget=0.2", implied=implied)
    assert (
        parse("matcha:(ring:8),budget=0.2,seed=1", implied=implied).text
        == "matcha:(ring:8),budget=0.2,seed=1"
    )
    assert nested.text == "matcha:(random-regular:24,degree=4,seed=7),budget=0.2,seed=7"
    same(build(nested.text).sequence, build(nested).sequence)
    with pytest.raises(MalformedExpression, match="degree is missing"):
        parse("random-regular:8")


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("ring:8", {"name": "ring", "n": 8}),
        ("Random_Regular:20,4,seed=3", {"name": "random-regular", "n": 20, "degree": 4, "seed": 3}),
        ("torus:4x6,weights=lazy", {"name": "torus", "shape": [4, 6], "weights": "lazy"}),
        ("matcha:(ring:8),budget=0.5", {"name": "matcha", "graph": "ring:8", "budget": 0.5}),
        ("matcha:topology=(ring:8)", {"name": "matcha", "graph": "ring:8"}),
        (
            "d-cliques:4,between=Small_World,labels=(0,1,0,1)",
            {"name": "d-cliques", "n": 4, "between": "small-world", "labels": [0, 1, 0, 1]},
        ),
        ("equi-dynamic:8,directed=no", {"name": "equi-dynamic", "n": 8, "directed": False}),
        ("star", {"name": "star"}),
        ("matcha:(nowhere:graph:size=3)", {"name": "matcha", "graph": "nowhere:graph:size=3"}),
    ],
)
def test_an_expression_and_its_table_name_the_same(text, table):
    assert as_table(text) == table
    if "nowhere" in text:
        return  # nothing is imported for a table
    arguments = {key: value for key, value in table.items() if key != "name"}
    implied = {"n": 8}
    one, other = parse(text, implied=implied), from_table(table["name"], arguments, implied=implied)
    assert (one.family, one.weights, one.shuffled) == (other.family, other.weights, other.shuffled)
    shown = [{key: getattr(v, "text", v) for key, v in each.values.items()} for each in (one, other)]
    assert shown[0] == shown[1]
    assert parse(other.text).text == other.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"degree": "four"}, "degree takes a whole number ≥ 1, not 'four'"),
        ({"degree": 4.0}, "degree takes a whole number"),
        ({"degree": True}, "degree takes a whole number"),
        ({"degre": 4}, "Did you mean 'degree'"),
        ({}, "degree is missing"),
    ],
)
def test_slips_in_tables_are_named(arguments, says):
    with pytest.raises(MalformedExpression, match=says):
        from_table("random-regular", {"n": 8, **arguments})


def test_a_former_name_is_understood_with_a_hint(tmp_path):
    path = tmp_path / "own.edges"
    path.write_text("a b\nb c\nc a\n")
    with pytest.warns(FutureWarning, match="'from_file' is now called 'file'"):
        assert build(f"from_file:{path}").graph.n == 3


def test_nodes_of_a_graph_are_relabelled_with_all_they_have():
    plain, shuffled = build("d-cliques:20,classes=5,clique_size=5"), build("d-cliques:20,5,5,shuffled=3")
    expected = sequences.shuffled(plain.sequence, 3).matrix(0)
    assert abs(shuffled.sequence.matrix(0) - expected).max() < 1e-15
    W = shuffled.sequence.matrix(0).toarray()
    for clique in range(4):
        members = np.flatnonzero(shuffled.graph.groups == clique)
        assert (W[np.ix_(members, members)] > 0).all()
    located = build("geometric:30,radius=0.4,seed=4,shuffled=2").graph
    lengths = [np.hypot(*(located.positions[i] - located.positions[j])) for i, j in located.edges()]
    assert max(lengths) <= 0.4
    assert max(lengths) == pytest.approx(max(build("geometric:30,radius=0.4,seed=4").graph.weights))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".mtx", ".csv"])
def test_a_mixing_matrix_of_your_own_is_read_from_its_file(tmp_path, suffix):
    path, W = tmp_path / f"own{suffix}", mixing.metropolis_hastings(graphs.star(5))
    if suffix == ".npy":
        np.save(path, W.toarray())
    else:
        export(expression="star:5", out=path)
    assert abs(build(f"matrix:{path}").sequence.matrix(3) - W).max() < 1e-15


def test_reading_builds_nothing():
    read = parse("ring:1_000_000_000")
    assert read.values == {"n": 10**9}
    assert find_family("ring") is read.family


def test_what_cannot_gossip_is_refused():
    with pytest.raises((Disconnected, InvalidParameter)):
        build("random-regular:10,degree=1,seed=1")
