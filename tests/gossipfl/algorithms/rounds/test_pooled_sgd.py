"""Pooled SGD, and what must equal it: every algorithm over W = J, each node taking all its samples a step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.d_cliques import DCliques
from gossipfl.algorithms.rounds.dfedavg import DFedAvg
from gossipfl.algorithms.rounds.epidemic_learning import EpidemicLearning
from gossipfl.algorithms.rounds.fedavg import FedAvg
from gossipfl.algorithms.rounds.pooled_sgd import PooledSGD
from gossipfl.algorithms.rounds.stochastic_gradient_push import StochasticGradientPush
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Still,
    after,
    few,
    mean_matrix,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)

ALL_SAMPLES = 100
GOSSIP = {
    "d_psgd": DPSGD(),
    "d_psgd, combine then adapt": DPSGD("combine-then-adapt"),
    "d_psgd, both at once": DPSGD("both-at-once"),
    "epidemic_learning": EpidemicLearning(degree=1),
    "dfedavg": DFedAvg(),
    "sgp": StochasticGradientPush(),
    "d_cliques": DCliques(),
    "fedavg": FedAvg(weighting="nodes"),
}


def descended(local, x, *, count, weights, momentum=0.0, rate=0.1):
    """Gradient descent on the weighted mean of the nodes' losses, on one row."""
    v = torch.zeros_like(x)
    means = torch.stack([own.mean(0) for own in local.samples_of])
    for _ in range(count):
        g = (weights[:, None] * local.curvatures * (x - means)).sum(0) / weights.sum()
        v = momentum * v + g
        x = x - rate * v
    return x


@pytest.mark.parametrize("weighting", ["nodes", "samples"])
@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999), momentum=st.sampled_from([0.0, 0.7]))
def test_it_is_gradient_descent_on_the_pooled_loss(weighting, nodes, seed, momentum):
    local = quadratics(nodes, seed=seed, largest=6, curved=True, momentum=momentum, batch_size=ALL_SAMPLES)
    weights = local.samples.double() if weighting == "samples" else torch.ones(nodes).double()
    network, start = Network.of(torch.eye(nodes).double()), start_at(torch.ones(nodes, 3).double())
    rows = after(PooledSGD(weighting=weighting), start, network, local, count=9).rows
    expected = descended(local, start.rows[0], count=9, weights=weights, momentum=momentum)
    assert torch.allclose(rows, expected.expand(nodes, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in GOSSIP if name != "d_psgd, both at once"])
@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999), rate=st.floats(0.01, 0.5))
def test_over_complete_mixing_with_full_data_everything_is_pooled_sgd(name, nodes, seed, rate):
    local = quadratics(nodes, seed=seed, largest=6, curved=True, batch_size=ALL_SAMPLES, learning_rate=rate)
    network = Network.of(mean_matrix(nodes), cliques=torch.zeros(nodes, dtype=torch.int64))
    start = start_at(torch.ones(nodes, 3).double())
    rows = after(GOSSIP[name], start, network, local, count=9).rows
    pooled = after(PooledSGD(), start, network, local, count=9).rows
    if name == "d_psgd, combine then adapt":  # its models differ by their last step
        rows = rows.mean(0).expand_as(rows)
    assert torch.allclose(rows, pooled, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in GOSSIP if name != "fedavg"])
@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999))
def test_mixing_keeps_the_mean(name, nodes, seed):
    local = quadratics(nodes, seed=seed, kind=Still)
    network = Network(lambda t: random_doubly_stochastic(nodes, seed + t), cliques=torch.arange(nodes) // 2)
    first = torch.randn(nodes, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for state, _ in rounds(GOSSIP[name], start_at(first), network, local, count=12):
        assert torch.allclose(state.rows.mean(0), first.mean(0), rtol=0, atol=1e-12)


@few
@given(nodes=st.integers(2, 6), seed=st.integers(0, 99), steps=st.integers(2, 4))
def test_a_round_takes_as_many_gradients_as_gossip_does(nodes, seed, steps):
    local = quadratics(nodes, seed=seed, largest=9, batch_size=2, local_steps=steps)
    once = quadratics(nodes, seed=seed, largest=9, batch_size=2)
    network, start = Network.of(torch.eye(nodes).double()), start_at(torch.ones(nodes, 3).double())
    pooled = after(PooledSGD(), start, network, local, count=3)
    assert torch.allclose(pooled.rows, after(PooledSGD(), start, network, once, count=3 * steps).rows)
    assert pooled.steps.tolist() == [3 * steps] * nodes
