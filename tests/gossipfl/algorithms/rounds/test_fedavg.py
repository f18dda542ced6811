"""Federated averaging: McMahan et al.'s Algorithm 1 written out, and what it is at its ends."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms.rounds.dfedavg import DFedAvg
from gossipfl.algorithms.rounds.fedavg import FedAvg
from gossipfl.algorithms.rounds.pooled_sgd import PooledSGD
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    after,
    few,
    mean_matrix,
    quadratics,
    rounds,
    start_at,
)


@few
@given(
    nodes=st.integers(2, 9),
    seed=st.integers(0, 999),
    fraction=st.sampled_from([0.01, 0.3, 0.5, 1.0]),
    weighting=st.sampled_from(["nodes", "samples"]),
)
def test_the_server_averages_those_it_drew(nodes, seed, fraction, weighting):
    algorithm = FedAvg(fraction=fraction, epochs=2, weighting=weighting)
    local = quadratics(nodes, seed=seed, largest=6, curved=True, batch_size=2, momentum=0.5)
    network, x = Network.of(mean_matrix(nodes)), torch.ones(nodes, 3).double()
    before = start_at(x)
    for state, sent in rounds(algorithm, before, network, local, count=4, seed=seed):
        drawn = sent[0].senders
        assert int(drawn.sum()) == max(round(fraction * nodes), 1)
        expected, total = torch.zeros(3).double(), 0
        for i in drawn.nonzero()[:, 0].tolist():
            alone = quadratics(nodes, seed=seed, largest=6, curved=True, batch_size=2, momentum=0.5)
            steps = torch.zeros(nodes, dtype=torch.int64)
            steps[i] = 2 * -(-len(local.samples_of[i]) // 2)
            resting = start_at(before.rows)
            fresh = alone.update(
                type(before)(
                    rows=before.rows,
                    ages=before.ages,
                    steps=before.steps,
                    optimiser_state=resting.optimiser_state,
                ),
                steps,
            )
            weight = len(local.samples_of[i]) if weighting == "samples" else 1
            expected, total = expected + weight * fresh.rows[i], total + weight
        assert torch.allclose(state.rows, (expected / total).expand(nodes, 3), rtol=0, atol=1e-12)
        assert (state.steps[~drawn] == before.steps[~drawn]).all()
        grown = state.steps[drawn] - before.steps[drawn]
        assert (state.ages == before.ages.max() + grown.max()).all()
        before = state


@few
@given(
    nodes=st.integers(2, 8),
    seed=st.integers(0, 999),
    weighting=st.sampled_from(["nodes", "samples"]),
    batch=st.integers(1, 9),
)
def test_everyone_and_one_step_is_pooled_sgd(nodes, seed, weighting, batch):
    local = quadratics(nodes, seed=seed, largest=6, curved=True, batch_size=batch)
    start, network = start_at(torch.ones(nodes, 3).double()), Network.of(mean_matrix(nodes))
    averaged = after(FedAvg(epochs=0, weighting=weighting), start, network, local, count=7)
    pooled = after(PooledSGD(weighting=weighting), start, network, local, count=7)
    assert torch.allclose(averaged.rows, pooled.rows, rtol=0, atol=1e-12)
    assert torch.equal(averaged.ages, pooled.ages)


@few
@given(nodes=st.integers(2, 8), seed=st.integers(0, 999), epochs=st.integers(1, 3))
def test_everyone_with_equal_weights_is_dfedavg_on_the_complete_graph(nodes, seed, epochs):
    local = quadratics(nodes, seed=seed, largest=5, batch_size=2, momentum=0.4)
    start, network = start_at(torch.ones(nodes, 3).double()), Network.of(mean_matrix(nodes))
    averaged = after(FedAvg(epochs=epochs, weighting="nodes"), start, network, local, count=5)
    gossiped = after(DFedAvg(epochs=epochs), start, network, local, count=5)
    assert torch.allclose(averaged.rows, gossiped.rows, rtol=0, atol=1e-12)


def test_draws_follow_seed_and_round_alone_and_visit_everyone_alike():
    nodes = 10
    local = quadratics(nodes)
    network, start = Network.of(mean_matrix(nodes)), start_at(torch.zeros(nodes, 3).double())

    def drawn(seed: int, count: int) -> torch.Tensor:
        run = rounds(FedAvg(fraction=0.3), start, network, local, count=count, seed=seed)
        return torch.stack([sent[0].senders for _, sent in run])

    assert torch.equal(drawn(5, 20), drawn(5, 20))
    assert not torch.equal(drawn(5, 20), drawn(6, 20))
    share = drawn(0, 1500).double().mean(0)
    assert float((share - 0.3).abs().max()) < 5 * (0.21 / 1500) ** 0.5


def test_nodes_that_differ_at_first_all_take_the_first_ones_model():
    local = quadratics(4)
    rows = torch.arange(16.0, dtype=torch.float64).reshape(4, 4)[:, :3]
    for algorithm in (FedAvg(), PooledSGD()):
        started = algorithm.start(start_at(rows), shared_size=2)
        assert torch.equal(started.rows[:, :2], rows[:1, :2].expand(4, 2))
        assert torch.equal(started.rows[:, 2:], rows[:, 2:])
    assert local.samples.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(SettingError, match="fraction"):
        FedAvg(fraction=fraction)
