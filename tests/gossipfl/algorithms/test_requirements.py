"""Requirements of algorithms on mixing, and the errors that name what is missing."""

import re

import pytest

from gossipfl.algorithms import Requirements
from gossipfl.algorithms.requirements import unmet
from gossipfl.settings import TrainingSettings
from topology import graphs, mixing, sequences

RING = sequences.static(mixing.metropolis_hastings(graphs.ring(6)), name="ring(6)")
STAR = sequences.static(mixing.uniform(graphs.star(6)), name="star(6)")
TREE = sequences.static(mixing.metropolis_hastings(graphs.tree(7, 2)), name="tree(7)")
DIRECTED = sequences.static(mixing.uniform(graphs.exponential(6)), name="exponential(6)")
ONE_PEER = sequences.one_peer_exponential(8)
EPIDEMIC = sequences.epidemic(8, 2, 1, mode="local")
PUSHED = sequences.pushed(EPIDEMIC)


def said(requirements, sequence, *, cliques=False, **training):
    return unmet("x", requirements, sequence, cliques=cliques, training=TrainingSettings(**training))


@pytest.mark.parametrize(
    ("requirements", "sequence", "what"),
    [
        (Requirements(), STAR, r"x needs doubly stochastic mixing, and the matrices of star\(6\) are not"),
        (Requirements(), EPIDEMIC, "x needs doubly stochastic mixing"),
        (Requirements(), PUSHED, "x needs doubly stochastic mixing"),
        (Requirements(stochastic="columns"), STAR, "columns sum to 1, and only the rows"),
        (Requirements(stochastic="rows"), PUSHED, "rows sum to 1, and only the columns"),
        (Requirements(static=True), ONE_PEER, "the same matrix in every round"),
        (Requirements(symmetric=True), DIRECTED, "symmetric mixing"),
        (Requirements(tree=True), RING, r"along a tree, and ring\(6\) is none"),
        (Requirements(tree=True), ONE_PEER, "along a tree"),
        (Requirements(links=True), DIRECTED, "directed"),
        (Requirements(links=True), ONE_PEER, "directed"),
        (Requirements(links=True, stochastic="rows"), EPIDEMIC, "directed"),
        (Requirements(cliques=True), RING, "averages within cliques"),
    ],
)
def test_what_is_missing_is_said(requirements, sequence, what):
    found = said(requirements, sequence)
    assert found is not None
    assert re.search(what, found.what)
    assert found.expected
    assert found.remedy.endswith(".")


@pytest.mark.parametrize(
    ("requirements", "sequence"),
    [
        (Requirements(), RING),
        (Requirements(), DIRECTED),
        (Requirements(), ONE_PEER),
        (Requirements(stochastic="rows"), EPIDEMIC),
        (Requirements(stochastic="rows"), RING),
        (Requirements(stochastic="columns"), PUSHED),
        (Requirements(stochastic="columns"), RING),
        (Requirements(symmetric=True, static=True), RING),
        (Requirements(tree=True, links=True, static=True), TREE),
        (Requirements(links=True, stochastic="rows"), STAR),
        (Requirements(links=True), sequences.base(7, 1)),
        (Requirements(server=True, tree=True), STAR),
    ],
)
def test_what_is_met_is_accepted(requirements, sequence):
    assert said(requirements, sequence) is None


def test_cliques_are_accepted_where_there_are_some():
    assert said(Requirements(cliques=True), RING, cliques=True) is None


@pytest.mark.parametrize("training", [{"momentum": 0.9}, {"local_steps": 2}])
def test_settings_of_training_without_effect_are_said(training):
    found = said(Requirements(own_steps=True), RING, **training)
    assert found is not None
    assert "without effect" in found.what
    assert said(Requirements(), RING, **training) is None
