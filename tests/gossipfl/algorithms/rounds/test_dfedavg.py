"""Decentralised federated averaging against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.dfedavg import DFedAvg
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    after,
    few,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)


@few
@given(nodes=st.integers(2, 8), seed=st.integers(0, 999), largest=st.integers(1, 9))
def test_with_one_local_step_it_is_d_psgd(nodes, seed, largest):
    """Batches of 2 of up to 9 samples: one step each, though epochs would differ."""
    local = quadratics(nodes, seed=seed, largest=largest, curved=True, batch_size=2)
    network = Network(lambda t: random_doubly_stochastic(nodes, seed + t))
    start = start_at(torch.zeros(nodes, 3).double())
    averaged = after(DFedAvg(epochs=0), start, network, local, count=6)
    plain = after(DPSGD(), start, network, local, count=6)
    assert torch.equal(averaged.rows, plain.rows)
    assert torch.equal(averaged.steps, plain.steps)


@few
@given(
    nodes=st.integers(2, 6),
    seed=st.integers(0, 999),
    epochs=st.integers(1, 3),
    batch=st.integers(1, 4),
    momentum=st.sampled_from([0.0, 0.6]),
)
def test_local_epochs_with_the_heavy_ball_at_rest_each_round(nodes, seed, epochs, batch, momentum):
    """y^{k+1} = y^k − η g + θ (y^k − y^{k−1}) with y^{−1} = y⁰ = x, on unequal numbers of samples."""
    local = quadratics(
        nodes, seed=seed, largest=7, curved=True, batch_size=batch, momentum=momentum, learning_rate=0.05
    )
    network = Network(lambda t: random_doubly_stochastic(nodes, seed + t))
    x = torch.ones(nodes, 3).double()
    done = [0] * nodes
    for t, (state, sent) in enumerate(rounds(DFedAvg(epochs=epochs), start_at(x), network, local, count=3)):
        trained = torch.empty_like(x)
        for i, own in enumerate(local.samples_of):
            before = now = x[i]
            for _ in range(epochs * -(-len(own) // batch)):
                size = min(batch, len(own))
                target = own[torch.arange(done[i] * size, (done[i] + 1) * size) % len(own)].mean(0)
                step = now - 0.05 * local.curvatures[i] * (now - target) + momentum * (now - before)
                before, now, done[i] = now, step, done[i] + 1
            trained[i] = now
        assert torch.allclose(sent[0].rows, trained, rtol=0, atol=1e-12)
        x = network.matrix(t) @ trained
        assert torch.allclose(state.rows, x, rtol=0, atol=1e-12)
        assert state.steps.tolist() == state.ages.tolist() == done


def test_fewer_epochs_than_none_are_refused():
    with pytest.raises(SettingError, match="dfedavg: epochs is out of range; expected at least 0"):
        DFedAvg(epochs=-1)
