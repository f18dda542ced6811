"""Muffliato: noise once, plain and accelerated gossip, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gossipfl.algorithms import Mixed, Muffliato, MuffliatoSGD, RoundContext, run_round
from gossipfl.algorithms.round_noise import SeededNoise, clipped
from gossipfl.algorithms.trial import trial_training
from gossipfl.privacy.acceleration import chebyshev_weight
from gossipfl.training import Nodes
from tests.gossipfl.algorithms.rounds.test_decor import N, ring

W = torch.from_numpy(ring()).double() / 3 + torch.eye(N, dtype=torch.float64) / 3
GAP = 0.4


def rows_of():
    return torch.randn(N, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run(algorithm, rounds, *, rate=0.0):
    nodes = algorithm.start(Nodes.start(rows_of()), shared_size=5)
    for number in range(rounds):
        local = trial_training(torch.arange(N), rate=rate)
        context = RoundContext(local=local, shared_size=5, round=number, numbers=torch.arange(N), seed=4)
        nodes = run_round(
            algorithm, nodes, context, lambda exchange: Mixed(rows=W @ exchange.rows, sent=exchange.rows)
        )
    return nodes.rows


def noise_of(round_number, width=5):
    return SeededNoise(4, round_number, torch.arange(N)).own(width)


@pytest.fixture(autouse=True)
def _narrow_trial(monkeypatch):
    monkeypatch.setattr("gossipfl.algorithms.trial.SIZE", 5)


@pytest.mark.parametrize("gap", [None, GAP])
def test_values_get_noise_once_and_are_then_averaged(gap):
    first = rows_of() + 2 * noise_of(0)
    weight = 1.0 if gap is None else chebyshev_weight(gap)
    assert gap is None or weight == pytest.approx(1.25)
    before, now = first, first
    for _ in range(6):
        before, now = now, weight * W @ now + (1 - weight) * before
    found = run(Muffliato(deviation=2.0, gap=gap), 6)
    torch.testing.assert_close(found, now)
    torch.testing.assert_close(found.mean(0), first.mean(0))


def test_accelerated_gossip_is_closer_to_the_mean():
    gap = 1 - float(np.linalg.eigvalsh(W.numpy())[-2])
    apart = [run(Muffliato(gap=each), 12) for each in (None, gap)]
    plain, accelerated = (float((rows - rows.mean(0)).norm()) for rows in apart)
    assert accelerated < plain / 3


@pytest.mark.parametrize("gap", [None, GAP])
def test_rounds_of_sgd_mix_the_noisy_step_several_times(gap):
    weight = 1.0 if gap is None else chebyshev_weight(gap)
    rows = rows_of()
    local = trial_training(torch.arange(N), rate=0.1)
    _, gradients = local.gradient(Nodes.start(rows))
    now = rows - 0.1 * (clipped(gradients, 0.5) + 3 * noise_of(0))
    before = now
    for _ in range(4):
        before, now = now, weight * W @ now + (1 - weight) * before
    found = run(MuffliatoSGD(clip=0.5, deviation=3.0, mixings=4, gap=gap), 1, rate=0.1)
    torch.testing.assert_close(found, now)


def test_rows_are_clipped_before_their_noise():
    found = run(Muffliato(clip=1e-3), 1)
    torch.testing.assert_close(found, W @ clipped(rows_of(), 1e-3))


def test_a_round_shifts_by_twice_the_clip():
    algorithm = MuffliatoSGD(clip=2.0, deviation=8.0)
    assert algorithm.noise_multiplier == 2.0
    assert algorithm.shifts(ring()) == pytest.approx(np.full(N, 0.5))
