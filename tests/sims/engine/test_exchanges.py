"""Exchanges of all nodes at once: what comes back, and what is counted."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import Exchange, LinkExchange
from gossipfl.codecs import QSGD, TopK, exchange_keys
from sims.engine.exchange import Exchanges
from sims.world.networks import round_network
from tests.sims.worlds import small
from topology import graphs, mixing, sequences

CPU = torch.device("cpu")
few = settings(max_examples=25, deadline=None)


def random_graph(nodes, density, seed):
    random = nx.gnp_random_graph(nodes, density, seed=seed)
    random.add_edges_from(nx.random_labeled_tree(nodes, seed=seed).edges)
    return graphs.from_networkx(random)


some_graphs = st.builds(random_graph, st.integers(2, 12), st.floats(0, 0.9), st.integers(0, 1000))


def exchanges_over(graph, *, weights=mixing.metropolis_hastings, cliques=None, seed=7):
    sequence = sequences.static(weights(graph))
    exchanges = Exchanges(sequence, cliques=cliques, seed=seed, device=CPU)
    exchanges.begin(0)
    return exchanges, sequence.matrix(0).toarray()


def normal(rows, size, *, dtype=torch.float64, seed=0):
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


@few
@given(some_graphs, st.sampled_from([torch.float32, torch.float64]))
def test_neighbours_mix_with_the_rounds_matrix(graph, dtype):
    exchanges, W = exchanges_over(graph)
    rows = normal(graph.n, 5, dtype=dtype)
    mixed = exchanges(Exchange(rows))
    assert mixed.rows.dtype == dtype
    assert torch.allclose(mixed.rows.double(), torch.from_numpy(W) @ rows.double(), atol=1e-6)
    assert mixed.sent.equal(rows)
    assert exchanges.messages == int(graph.degrees.sum())
    assert exchanges.bytes == exchanges.messages * 4 * 5


@few
@given(some_graphs, st.integers(1, 4))
def test_messages_over_links_arrive_at_the_other_end(graph, size):
    """Every message says who sends it to whom; what comes back was sent by that neighbour, to that owner."""
    exchanges, W = exchanges_over(graph, weights=mixing.uniform)
    links = exchanges.links()
    rows = torch.stack([links.owner, links.neighbours], dim=1).double().repeat(1, size)
    mixed = exchanges(LinkExchange(rows))
    assert mixed.rows[:, 0].equal(links.neighbours.double())
    assert mixed.rows[:, 1].equal(links.owner.double())
    assert links.weights.numpy() == pytest.approx(W[links.owner, links.neighbours])
    pairs = list(zip(links.owner.tolist(), links.neighbours.tolist(), strict=True))
    assert pairs == sorted((i, j) for i, j in np.argwhere(W > 0).tolist() if i != j)
    assert exchanges.messages == len(pairs)
    assert exchanges.bytes == len(pairs) * 4 * 2 * size


@few
@given(st.lists(st.integers(0, 3), min_size=4, max_size=12).map(lambda g: [*range(4), *g]))
def test_cliques_average_among_themselves(groups):
    cliques = np.array(groups)
    exchanges, _ = exchanges_over(graphs.ring(len(groups)), cliques=cliques)
    rows = normal(len(groups), 3)
    mixed = exchanges(Exchange(rows, over="clique"))
    for i, clique in enumerate(groups):
        assert torch.allclose(mixed.rows[i], rows[cliques == clique].mean(0), atol=1e-14)
    members = np.bincount(cliques)
    assert exchanges.messages == (members * (members - 1)).sum()


def test_a_server_averages_over_all_and_answers_those_who_sent():
    exchanges, _ = exchanges_over(graphs.ring(6))
    rows, senders = normal(6, 3), torch.tensor([True, False, True, True, False, False])
    rows = torch.where(senders[:, None], rows, 0)
    mixed = exchanges(Exchange(rows, over="server", senders=senders))
    assert torch.allclose(mixed.rows, (rows.sum(0) / 6).expand(6, 3), atol=1e-15)
    assert exchanges.messages == 2 * 3
    assert exchanges.bytes == 2 * 3 * 4 * 3


@pytest.mark.parametrize("compressor", [TopK(2), QSGD(levels=16)], ids=lambda c: c.name)
def test_neighbours_mix_what_they_decode(compressor):
    exchanges, W = exchanges_over(graphs.ring(8), seed=11)
    exchanges.begin(3)
    rows, compressed = normal(8, 40), []
    for number in range(2):
        mixed = exchanges(Exchange(rows, compressor=compressor))
        keys = exchange_keys(torch.arange(8), seed=11, round_number=3, exchange=number)
        expected = compressor.compress(rows, keys=keys)
        assert mixed.sent.equal(expected)
        assert torch.allclose(mixed.rows, torch.from_numpy(W) @ expected, atol=1e-14)
        compressed.append(mixed.sent)
    assert exchanges.bytes == 2 * 16 * compressor.payload_bytes(40)
    assert compressed[0].equal(compressed[1]) == isinstance(compressor, TopK)


def test_every_end_of_a_link_draws_for_itself():
    """The two ends of a link, and one node's several links, are compressed with different draws."""
    exchanges, _ = exchanges_over(graphs.complete(4))
    count = len(exchanges.links().owner)
    same = normal(1, 30).expand(count, -1).contiguous()
    mixed = exchanges(LinkExchange(same, compressor=QSGD(levels=4)))
    assert len({tuple(row.tolist()) for row in mixed.sent}) == count
    assert exchanges.bytes == count * QSGD(levels=4).payload_bytes(30)


def test_links_and_counts_follow_a_sequence():
    """Over the one-peer exponential graph everyone sends to one other a round, another one each round."""
    sequence = sequences.one_peer_exponential(8)
    exchanges = Exchanges(sequence, seed=0, device=CPU)
    rows = normal(8, 2)
    for t in range(3):
        exchanges.begin(t)
        expected = torch.from_numpy(sequence.matrix(t).toarray()) @ rows
        rows = exchanges(Exchange(rows)).rows
        assert torch.allclose(rows, expected, atol=1e-15)
        assert exchanges.messages == 8 * (t + 1)


def test_the_complete_graph_is_a_mean_and_makes_no_matrix():
    scenario = small("algorithm={name='d_psgd'}", "topology.name=complete", "population.nodes=30000")
    network = round_network(scenario)  # whose matrix would have 900 million entries
    assert network.complete
    exchanges = Exchanges(network.sequence, complete=True, seed=0, device=CPU)
    exchanges.begin(0)
    rows = normal(30000, 2)
    mixed = exchanges(Exchange(rows))
    assert torch.allclose(mixed.rows, rows.mean(0).expand(30000, 2), atol=1e-15)
    assert exchanges.messages == 30000 * 29999


def test_the_matrix_of_the_complete_graph_is_there_for_whoever_asks():
    network = round_network(small("algorithm={name='d_psgd'}", "topology.name=complete"))
    assert network.sequence.matrix(0).toarray() == pytest.approx(np.full((24, 24), 1 / 24))
    exchanges = Exchanges(network.sequence, complete=True, seed=0, device=CPU)
    exchanges.begin(0)
    assert len(exchanges.links().owner) == 24 * 23
