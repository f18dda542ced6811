"""RelaySGD: exact uniform means along trees, late by the distance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.pooled_sgd import PooledSGD
from gossipfl.algorithms.rounds.relay_sgd import RELAYED, RelaySGD
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Quadratics,
    after,
    few,
    quadratics,
    random_tree,
    rounds,
    start_at,
)
from topology import graphs, mixing

TREES = {
    "chain": [(i, i + 1) for i in range(8)],
    "star": [(0, i) for i in range(1, 9)],
    "binary": [((i - 1) // 2, i) for i in range(1, 15)],
}


def distances(edges: list[tuple[int, int]]) -> torch.Tensor:
    graph = nx.Graph(edges)
    found = dict(nx.all_pairs_shortest_path_length(graph))
    return torch.tensor([[found[i][j] for j in range(len(graph))] for i in range(len(graph))])


@dataclass(frozen=True)
class Constant(Quadratics):
    """Training whose result is the same whatever the model: node i's is its first sample."""

    def update(self, nodes, steps=None):
        return replace(nodes, rows=torch.stack([own[0] for own in self.samples_of]))


@dataclass(frozen=True)
class Recorded(Quadratics):
    """Training whose result depends on the node and on how often it was asked, and on nothing else."""

    def result(self, step: int) -> torch.Tensor:
        return torch.stack([own[0] for own in self.samples_of]) * (step + 1.0)

    def update(self, nodes, steps=None):
        return replace(nodes, rows=self.result(int(nodes.steps[0])), steps=nodes.steps + 1)


class LossyNetwork(Network):
    """Some messages over links do not come; zeros stand in their place."""

    share: float
    generator: torch.Generator

    def answer(self, sent, t):
        came = torch.rand(len(sent.rows), 1, generator=self.generator) >= self.share
        return replace(mixed := super().answer(sent, t), rows=mixed.rows * came)


@pytest.mark.parametrize("tree", TREES)
def test_what_stays_constant_is_averaged_exactly_after_the_diameter(tree):
    edges = TREES[tree]
    far = distances(edges)
    nodes, diameter = len(far), int(far.max())
    local = quadratics(nodes, kind=Constant)
    values = local.update(start_at(torch.zeros(nodes, 3).double())).rows
    seen = [
        state.rows
        for state, _ in rounds(
            RelaySGD(), start_at(values), Network.of_tree(edges, nodes), local, count=diameter + 3
        )
    ]
    for t, rows in enumerate(seen):
        known = (far <= t + 1).double()
        assert torch.allclose(rows, known @ values / known.sum(1, keepdim=True), rtol=0, atol=1e-12)
    for rows in seen[diameter - 1 :]:
        assert torch.allclose(rows, values.mean(0).expand_as(values), rtol=0, atol=1e-12)


@few
@given(nodes=st.integers(2, 15), seed=st.integers(0, 999))
def test_on_any_tree_it_is_the_uniform_mean_of_models_late_by_their_distance(nodes, seed):
    edges = random_tree(nodes, seed)
    far = distances(edges)
    local = quadratics(nodes, seed=seed, kind=Recorded)
    network = Network.of_tree(edges, nodes)
    for t, (state, _) in enumerate(
        rounds(RelaySGD(), start_at(torch.zeros(nodes, 3).double()), network, local, count=nodes + 2)
    ):
        delays = (far - 1).clamp(min=0)
        total, count = torch.zeros(nodes, 3).double(), torch.zeros(nodes, 1).double()
        for late in range(t + 1):
            arrived = (delays == late).double()
            total += arrived @ local.result(t - late)
            count += arrived.sum(1, keepdim=True)
        assert torch.allclose(state.rows, total / count, rtol=1e-12, atol=1e-11)
        assert t < int(far.max()) - 1 or (count == nodes).all()


def test_a_message_to_a_neighbour_holds_nothing_that_came_from_it():
    edges = TREES["binary"]
    nodes = 15
    network, local = Network.of_tree(edges, nodes), quadratics(nodes, kind=Constant)
    *_, (state, sent) = rounds(RelaySGD(), start_at(torch.zeros(nodes, 3).double()), network, local, count=8)
    graph = nx.Graph(edges)
    values = local.update(state).rows
    for (owner, neighbour), message in zip(network.ends, sent[0].rows, strict=True):
        without = graph.copy()
        without.remove_edge(owner, neighbour)
        behind = sorted(nx.node_connected_component(without, owner))
        assert int(message[-1]) == len(behind)
        assert torch.allclose(message[:-1], values[behind].sum(0), rtol=0, atol=1e-12)
    assert state.auxiliary[RELAYED].shape == (28, 4)


@few
@given(nodes=st.integers(2, 12), seed=st.integers(0, 999), lost=st.floats(0.05, 0.5))
def test_messages_that_do_not_come_are_left_out_of_the_mean_and_no_harm_remains(nodes, seed, lost):
    """Zeros in their place: a mean of some of the constant models, and the exact one after losses end."""
    edges = random_tree(nodes, seed)
    local = quadratics(nodes, seed=seed, kind=Constant)
    network = LossyNetwork.of_tree(edges, nodes)
    network.share, network.generator = lost, torch.Generator().manual_seed(seed)
    values = torch.stack([own[0] for own in local.samples_of])
    run = rounds(RelaySGD(), start_at(values), network, local, count=10 + nodes)
    for t, (state, _) in enumerate(run):
        assert (state.rows <= values.max(0).values + 1e-12).all()
        assert (state.rows >= values.min(0).values - 1e-12).all()
        if t == 9:
            network.share = 0.0
    assert torch.allclose(state.rows, values.mean(0).expand_as(values), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tree", "seed"), [("chain", 0), ("star", 1), ("binary", 2)])
def test_heterogeneous_quadratics_end_at_the_optimum_where_d_psgd_does_not(tree, seed):
    edges = TREES[tree]
    nodes = len(edges) + 1
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=0.05)
    start = start_at(torch.zeros(nodes, 3).double())
    relayed = after(RelaySGD(), start, Network.of_tree(edges, nodes), local, count=2500).rows
    W = torch.from_numpy(mixing.metropolis_hastings(graphs.from_edges(edges)).toarray())
    gossiped = after(DPSGD(), start, Network.of(W), local, count=600).rows
    assert torch.allclose(relayed, local.optimum.expand_as(relayed), rtol=0, atol=1e-9)
    assert float((gossiped - local.optimum).abs().max()) > 0.01


@few
@given(seed=st.integers(0, 99), momentum=st.sampled_from([0.0, 0.8]))
def test_of_two_nodes_it_is_pooled_sgd(seed, momentum):
    local = quadratics(2, seed=seed, curved=True, momentum=momentum)
    start = start_at(torch.ones(2, 3).double())
    network = Network.of_tree([(0, 1)], 2)
    relayed = after(RelaySGD(), start, network, local, count=12).rows
    assert torch.allclose(relayed, after(PooledSGD(), start, network, local, count=12).rows, atol=1e-12)


def test_without_links_it_says_what_it_needs():
    with pytest.raises(SettingError, match="over each link"):
        RelaySGD().start(start_at(torch.zeros(2, 3)), shared_size=3)
