"""Quasi-global momentum: the algorithm of the paper, and what it reduces to."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.quasi_global_momentum import PATH, QGDSGDm
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.graphs_at_random import matrices, matrix_of
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Quadratics,
    after,
    few,
    mean_matrix,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)
from topology import graphs

steps = st.floats(0.01, 0.3)
factors = st.floats(0.0, 0.95)
directed = st.builds(random_doubly_stochastic, st.integers(2, 9), st.integers(0, 1000))


def points(W, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(W), 3, generator=generator, dtype=torch.float64)


@few
@given(matrices | directed, steps, factors, factors, st.booleans(), st.integers(0, 99))
def test_it_follows_the_algorithm_of_the_paper(W, rate, beta, mu, nesterov, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    nodes = start_at(points(W, seed=seed))
    algorithm = QGDSGDm(momentum=beta, smoothing=mu, nesterov=nesterov)
    X, path = nodes.rows, torch.zeros_like(nodes.rows)
    for now, _ in rounds(algorithm, nodes, Network.of(W), local, count=6):
        G = local.curvatures * (X - torch.cat(list(local.samples_of)))
        M = beta * path + G
        after_round = W @ (X - rate * (G + beta * M if nesterov else M))
        path = mu * path + (1 - mu) * (X - after_round) / rate
        X = after_round
        assert torch.allclose(now.rows, X, rtol=1e-9, atol=1e-9)


@few
@given(matrices | directed, steps, factors, st.integers(0, 99))
def test_without_momentum_it_is_d_psgd(W, rate, mu, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    arguments = (start_at(points(W, seed=seed)), Network.of(W), local)
    one = after(QGDSGDm(momentum=0.0, smoothing=mu), *arguments, count=5)
    assert torch.allclose(one.rows, after(DPSGD(), *arguments, count=5).rows, rtol=1e-13, atol=1e-13)


@few
@given(st.integers(2, 9), steps, factors, factors, st.integers(0, 99))
def test_with_complete_averaging_it_is_quasi_hyperbolic_momentum(nodes, rate, beta, mu, seed):
    """Ma & Yarats 2019: d ← b d + (1 − b) g, x ← x − α ((1 − ν) g + ν d), with these α, b and ν."""
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=rate)
    samples = torch.cat(list(local.samples_of))
    b = mu + (1 - mu) * beta
    alpha, nu = rate / (1 - beta), beta / b if b else 0.0
    x, d = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    start = start_at(torch.zeros(nodes, 3, dtype=torch.float64))
    algorithm = QGDSGDm(momentum=beta, smoothing=mu)
    for now, _ in rounds(algorithm, start, Network.of(mean_matrix(nodes)), local, count=8):
        gradient = (local.curvatures * (x - samples)).mean(0)
        d = b * d + (1 - b) * gradient
        x = x - alpha * ((1 - nu) * gradient + nu * d)
        assert torch.allclose(now.rows, x.expand(nodes, -1), rtol=1e-8, atol=1e-8)


def test_the_smoothing_is_the_momentum_unless_given():
    W = matrix_of(graphs.ring(5))
    arguments = (start_at(points(W)), Network.of(W), quadratics(5, learning_rate=0.1))
    one = after(QGDSGDm(momentum=0.7), *arguments, count=4)
    assert torch.equal(one.rows, after(QGDSGDm(momentum=0.7, smoothing=0.7), *arguments, count=4).rows)


def test_where_the_step_size_is_zero_paths_only_decay():
    class Stopping(Quadratics):
        def learning_rates(self, nodes):
            return torch.where(nodes.ages < 2, 0.1, 0.0).double()[:, None]

    W = matrix_of(graphs.ring(4))
    local = quadratics(4, kind=Stopping)
    states = [now for now, _ in rounds(QGDSGDm(), start_at(points(W)), Network.of(W), local, count=5)]
    moving, still = states[1], states[2:]
    assert moving.auxiliary[PATH].abs().min() > 0
    for count, state in enumerate(still, start=1):
        assert torch.allclose(state.auxiliary[PATH], 0.9**count * moving.auxiliary[PATH])
        assert torch.isfinite(state.rows).all()


def test_what_stays_local_follows_its_own_path():
    """Alone with its path, a local parameter is quasi-hyperbolic too: W = I."""
    W = matrix_of(graphs.ring(4))
    local = quadratics(4, learning_rate=0.1)
    start = start_at(points(W))
    parted = after(QGDSGDm(), start, Network.of(W), local, count=6, shared_size=2)
    alone = after(QGDSGDm(), start, Network.of(torch.eye(4, dtype=torch.float64)), local, count=6)
    assert torch.allclose(parted.rows[:, 2], alone.rows[:, 2], rtol=0, atol=1e-12)
    assert not torch.allclose(parted.rows[:, :2], alone.rows[:, :2])


def test_what_is_not_trained_has_no_path():
    W = matrix_of(graphs.ring(4))

    class Buffered(Quadratics):
        def gradient(self, nodes):
            older, gradients = super().gradient(replace(nodes, rows=nodes.rows[:, :3]))
            return replace(nodes, ages=older.ages, steps=older.steps), gradients

    rows = torch.cat([points(W), torch.full((4, 2), 5.0, dtype=torch.float64)], dim=1)
    local = quadratics(4, kind=Buffered, learning_rate=0.1)
    now = after(QGDSGDm(), start_at(rows), Network.of(W), local, count=3, shared_size=3)
    assert now.rows[:, 3:].eq(5).all()
    assert now.auxiliary[PATH].shape == (4, 5)
    assert now.auxiliary[PATH][:, 3:].eq(0).all()


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"momentum": -0.1}, {"smoothing": 1.5}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match=f"qg_dsgdm: {next(iter(wrong))} is out of range"):
        QGDSGDm(**wrong)
