"""Rules on the rows of all neighbours: the right rows, weights and places, whatever the chunks."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from gossipfl.algorithms import NeighbourRows
from gossipfl.codecs import QSGD
from gossipfl.errors import InvalidAlgorithm
from sims.engine import neighbourhoods as module
from sims.engine.exchange import Exchanges
from sims.engine.neighbourhoods import Complete, Sparse, neighbourhoods
from tests.gossipfl.algorithms.robust_rules import (
    SelfCentredClipping,
    TrimmedMean,
    clipping_by_hand,
    trimmed_mean_by_hand,
)
from tests.sims.engine.test_exchanges import CPU, exchanges_over, few, normal, some_graphs
from topology import graphs, sequences


@st.composite
def directed_matrices(draw):
    """Rows that sum to one, with isolated nodes, nodes heard by all, and negative weights now and then."""
    n = draw(st.integers(2, 9))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    W = generator.normal(size=(n, n)) * (generator.random((n, n)) < draw(st.floats(0, 1)))
    np.fill_diagonal(W, 0)
    np.fill_diagonal(W, 1 - W.sum(axis=1))
    return W


@few
@given(directed_matrices(), st.integers(1, 200))
def test_every_node_sees_its_neighbours_in_order_and_nobody_else(W, numbers):
    n, rows = len(W), normal(len(W), 4)
    seen = []
    for around in neighbourhoods(Sparse(csr_array(W)), rows, numbers=numbers):
        b, K = around.present.shape
        assert b == 1 or b * K * 4 <= numbers
        assert around.rows.shape == (b, K, 4)
        for place, node in enumerate(around.nodes.tolist()):
            seen.append(node)
            heard = [j for j in range(n) if j != node and W[node, j] != 0]
            present = around.present[place]
            assert present.tolist() == [True] * len(heard) + [False] * (K - len(heard))
            assert around.rows[place, : len(heard)].equal(rows[heard])
            assert around.weights[place, : len(heard)].numpy() == pytest.approx(W[node, heard])
            assert not around.rows[place, len(heard) :].any()
            assert not around.weights[place, len(heard) :].any()
            assert around.own[place].equal(rows[node])
            total = around.own_weights[place] + around.weights[place].sum()
            assert float(total) == pytest.approx(1)
    assert sorted(seen) == list(range(n))


@few
@given(st.integers(2, 12), st.integers(1, 300))
def test_the_complete_graph_needs_no_matrix(n, numbers):
    rows, W = normal(n, 3), csr_array(np.full((n, n), 1 / n))
    pairs = zip(
        neighbourhoods(Complete(n), rows, numbers=numbers),
        neighbourhoods(Sparse(W), rows, numbers=numbers),
        strict=True,
    )
    for mine, other in pairs:
        for name in ("nodes", "own", "own_weights", "rows", "weights", "present"):
            assert getattr(mine, name).equal(getattr(other, name))


@few
@given(some_graphs, st.integers(0, 3), st.floats(0.1, 5))
def test_rules_against_numpy(graph, trim, radius):
    exchanges, W = exchanges_over(graph)
    rows = 3 * normal(graph.n, 5)
    trimmed = exchanges(NeighbourRows(rows, TrimmedMean(trim).combine))
    assert trimmed.rows.numpy() == pytest.approx(trimmed_mean_by_hand(rows.numpy(), W, trim), abs=1e-12)
    clipped = exchanges(NeighbourRows(rows, SelfCentredClipping(radius).combine))
    assert clipped.rows.numpy() == pytest.approx(clipping_by_hand(rows.numpy(), W, radius), abs=1e-12)
    assert clipped.sent is rows
    assert exchanges.messages == 2 * int(graph.degrees.sum())
    assert exchanges.bytes == exchanges.messages * 4 * 5


@pytest.mark.parametrize("rule", [TrimmedMean(1), SelfCentredClipping(0.5)], ids=lambda r: type(r).__name__)
def test_chunks_do_not_matter(rule, monkeypatch):
    rows = normal(40, 30, dtype=torch.float32)
    exchanges, _ = exchanges_over(graphs.from_networkx(nx.barabasi_albert_graph(40, 2, seed=1)))
    at_once = exchanges(NeighbourRows(rows, rule.combine)).rows
    defaults = module.neighbourhoods.__kwdefaults__
    monkeypatch.setattr(module.neighbourhoods, "__kwdefaults__", {**defaults, "numbers": 100})
    one_by_one = exchanges(NeighbourRows(rows, rule.combine)).rows
    assert torch.allclose(at_once, one_by_one, atol=1e-6)


def test_neighbours_combine_what_they_decode_round_by_round():
    sequence = sequences.one_peer_exponential(8)
    exchanges, rows = Exchanges(sequence, seed=3, device=CPU), normal(8, 20)
    for t in range(3):
        exchanges.begin(t)
        mixed = exchanges(NeighbourRows(rows, lambda around: around.rows[:, 0], compressor=QSGD(levels=4)))
        heard = [int(sequence.neighbours(t, i)[0]) for i in range(8)]
        assert mixed.rows.equal(mixed.sent[heard])
        assert not mixed.sent.equal(rows)


def test_the_complete_graph_of_a_network_is_combined():
    exchanges = Exchanges(
        sequences.static(csr_array(np.full((5, 5), 0.2))), complete=True, seed=0, device=CPU
    )
    exchanges.begin(0)
    rows = normal(5, 3)
    mixed = exchanges(NeighbourRows(rows, SelfCentredClipping(1e9).combine))
    assert torch.allclose(mixed.rows, rows.mean(0).expand(5, 3), atol=1e-14)


@pytest.mark.parametrize(
    "outcome", [lambda around: None, lambda around: around.rows, lambda around: around.own[:0]]
)
def test_a_rule_must_give_a_row_for_each_node(outcome):
    exchanges, _ = exchanges_over(graphs.ring(5))
    with pytest.raises(
        InvalidAlgorithm, match="does not return a row for each node; expected a tensor \\[5, M\\]"
    ):
        exchanges(NeighbourRows(normal(5, 3), outcome))
