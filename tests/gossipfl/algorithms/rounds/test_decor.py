"""DECOR: noise that cancels, gradients it hides, and the account of rounds, beside the published figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import DECOR, DPSGD, Links, Mixed, RoundContext, run_round
from gossipfl.algorithms.round_noise import SeededNoise, shared_noise
from gossipfl.algorithms.trial import trial_training
from gossipfl.errors import SettingError
from gossipfl.privacy.correlated import composed_epsilon, correlated_losses
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes

N = 5


def ring(n=N):
    linked = np.zeros((n, n), dtype=bool)
    linked[np.arange(n), np.arange(1, n + 1) % n] = True
    return linked | linked.T


def links_of(linked, nodes=None):
    owner, neighbours = np.nonzero(linked)
    kept = np.isin(owner, np.arange(len(linked)) if nodes is None else nodes)
    weights = torch.full((int(kept.sum()),), 1 / 3, dtype=torch.float64)
    _, places = np.unique(owner[kept], return_inverse=True)
    return Links(torch.from_numpy(places), torch.from_numpy(neighbours[kept]), weights)


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_shared_noise_sums_to_zero_exactly_and_is_gaussian(seed, deviation):
    numbers = torch.arange(N)
    noise = SeededNoise(seed, 3, numbers)
    whole, unit = shared_noise(noise, numbers, links_of(ring()), width=400, deviation=deviation)
    assert whole.dtype == torch.int64
    assert not whole.sum(dim=0).any()
    assert not (whole.double() * unit).sum(dim=0).any()  # in floats as well
    drawn = (whole.double() * unit).std() / deviation
    assert abs(float(drawn) - 2**0.5) < 0.15  # two links a node


def test_a_node_alone_draws_what_it_draws_among_all():
    numbers = torch.arange(N)
    together, unit = shared_noise(
        SeededNoise(1, 0, numbers), numbers, links_of(ring()), width=9, deviation=2.0
    )
    for node in range(N):
        alone, same = shared_noise(
            SeededNoise(1, 0, numbers[node : node + 1]), numbers[node : node + 1], links_of(ring(), [node]),
            width=9, deviation=2.0,
        )  # fmt: skip
        assert same == unit
        assert torch.equal(alone[0], together[node])


def one_round(algorithm, *, links=None, absent=()):
    generator = torch.Generator().manual_seed(0)
    nodes = Nodes.start(torch.randn(N, 7, generator=generator, dtype=torch.float64), optimiser_state_size=0)
    local = trial_training(torch.arange(N))
    context = RoundContext(local=local, shared_size=5, round=0, numbers=torch.arange(N), seed=4, links=links)
    sent = []

    def carry_out(exchange):
        sent.append(exchange.rows)
        return Mixed(rows=exchange.rows.mean(0).expand(N, 5), sent=exchange.rows)

    return run_round(algorithm, nodes, context, carry_out), sent[0], nodes


@pytest.fixture(autouse=True)
def _wide_trial(monkeypatch):
    monkeypatch.setattr("gossipfl.algorithms.trial.SIZE", 7)


def test_the_mean_of_all_models_moves_by_the_noisy_gradients_without_the_shared_noise():
    algorithm = DECOR(clip=1e9, deviation=1e-9, edge_deviation=50.0)
    after, sent, _ = one_round(algorithm, links=links_of(ring()))
    plain, unhidden, _ = one_round(DPSGD())
    torch.testing.assert_close(after.rows[:, :5], plain.rows[:, :5], rtol=0, atol=1e-6)
    assert (sent - unhidden).abs().min(dim=1).values.max() > 0.01  # what each sends is far from it
    assert (sent - unhidden).std() > 1.0


def test_gradients_are_clipped_and_noisy():
    gradients = (
        one_round(DECOR(clip=0.1, deviation=1e-9))[1] - one_round(DECOR(clip=1e-9, deviation=1e-9))[1]
    ) / 0.1
    assert torch.allclose(gradients.norm(dim=1), torch.full((N,), 0.1, dtype=torch.float64), rtol=1e-3)
    noise = (
        one_round(DECOR(clip=1e-9, deviation=3.0))[1] - one_round(DECOR(clip=1e-9, deviation=1e-9))[1]
    ) / 0.1
    assert 2.0 < float(noise.std()) < 4.5


@pytest.mark.parametrize(
    ("linked", "edge_deviation", "per_step", "epsilon"),
    [
        (~np.eye(16, dtype=bool), 32.0, 5.055857e-4, 10.796774),
        (ring(16), 188.0, 4.656257e-4, 10.292830),
    ],
    ids=["complete", "ring"],
)
def test_the_account_gives_the_published_figures(linked, edge_deviation, per_step, epsilon):
    algorithm = DECOR(clip=1.0, deviation=17.8271, edge_deviation=edge_deviation, colluding=0)
    found = algorithm.shifts(linked).max() ** 2 / 2
    assert found == pytest.approx(per_step, rel=3e-7)
    assert composed_epsilon(found, steps=3500, delta=1e-5) == pytest.approx(epsilon, abs=2e-6)
    alone = DECOR(clip=1.0, deviation=17.8271, colluding=0)
    assert alone.shifts(linked).max() ** 2 / 2 == pytest.approx(6.293228e-3, rel=2e-5)  # of σ with all digits


def test_colluding_nodes_leave_their_links_out():
    linked = ring(8)
    shifts = {
        k: DECOR(deviation=1.0, edge_deviation=10.0, colluding=k).shifts(linked).max() for k in range(3)
    }
    assert shifts[0] < shifts[1] < shifts[2]
    both = correlated_losses(linked, deviation=1.0, edge_deviation=10.0, coalition=(0, 2))
    assert shifts[2] == pytest.approx(2 * np.sqrt(both[1]))  # all its neighbours
    assert both[1] == pytest.approx(1.0)
    with pytest.raises(SettingError, match="coalitions"):
        DECOR(colluding=10).shifts(ring(40))


@given(st.integers(3, 9), st.integers(0, 2**32), st.floats(0.1, 50.0))
@settings(max_examples=60, deadline=None)
def test_links_whose_ends_draw_apart_hide_everybody_no_less(n, seed, edge_deviation):
    """Where keys were not exchanged both ends draw apart, and the account of the whole graph still holds."""
    generator = np.random.default_rng(seed)
    linked = np.triu(generator.random((n, n)) < 0.6, 1)
    linked |= linked.T
    shared = correlated_losses(linked, deviation=1.0, edge_deviation=edge_deviation)
    apart = np.triu(linked & (generator.random((n, n)) < 0.5), 1)
    apart |= apart.T
    both = linked & ~apart
    laplacian = np.diag(both.sum(1)) - both.astype(float)
    covariance = np.eye(n) + edge_deviation**2 * (laplacian + np.diag(apart.sum(1)))
    absent = generator.random(n) < 0.2
    losses = np.diagonal(np.linalg.inv(covariance[np.ix_(~absent, ~absent)]))
    assert (losses <= shared[~absent] * (1 + 1e-9)).all()


def test_training_of_several_steps_is_refused():
    assert DECOR().requirements.own_steps
    assert not TrainingSettings(local_steps=2).is_single_plain_step
