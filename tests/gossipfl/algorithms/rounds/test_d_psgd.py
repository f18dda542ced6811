"""D-PSGD in its three orders: recursions, fixed points, the mean, and the noise floor."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
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

ADAPT_FIRST, COMBINE_FIRST, BOTH = "adapt-then-combine", "combine-then-adapt", "both-at-once"
ORDERS = [ADAPT_FIRST, COMBINE_FIRST, BOTH]
steps = st.floats(0.01, 0.5)
directed = st.builds(random_doubly_stochastic, st.integers(2, 9), st.integers(0, 1000))


def points(W, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(W), 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("order", ORDERS)
@few
@given(W=matrices | directed, rate=steps, seed=st.integers(0, 99))
def test_it_follows_the_equation_of_its_order(order, W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    X = points(W, seed=seed)

    def slopes(rows):
        return local.curvatures * (rows - torch.cat(list(local.samples_of)))

    for now, _ in rounds(DPSGD(order), start_at(X), Network.of(W), local, count=4):
        if order == ADAPT_FIRST:
            X = W @ (X - rate * slopes(X))
        elif order == COMBINE_FIRST:
            X = W @ X - rate * slopes(W @ X)
        else:
            X = W @ X - rate * slopes(X)
        assert torch.allclose(now.rows, X, rtol=0, atol=1e-11)


@pytest.mark.parametrize("order", ORDERS)
@few
@given(W=matrices, rate=st.floats(0.2, 0.9), seed=st.integers(0, 99))
def test_on_quadratics_it_rests_where_each_mode_rests(order, W, rate, seed):
    """In W's eigenbasis mode λ rests at ηλb̂/(1 − (1−η)λ), ηb̂/(1 − (1−η)λ) or ηb̂/(1 − λ + η)."""
    local = quadratics(len(W), seed=seed, learning_rate=rate)
    eigenvalues, vectors = torch.linalg.eigh(W)
    assume(order != BOTH or eigenvalues[0] > rate - 0.95)  # with λ − η ≤ −1 it never rests
    b = vectors.T @ torch.cat(list(local.samples_of))
    ratio = {
        ADAPT_FIRST: rate * eigenvalues / (1 - (1 - rate) * eigenvalues),
        COMBINE_FIRST: rate / (1 - (1 - rate) * eigenvalues),
        BOTH: rate / (1 - eigenvalues + rate),
    }[order]
    rows = after(DPSGD(order), start_at(points(W)), Network.of(W), local, count=300).rows
    assert torch.allclose(rows, vectors @ (ratio[:, None] * b), rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@few
@given(W=matrices | directed, rate=steps, seed=st.integers(0, 99))
def test_the_mean_moves_by_the_mean_gradient(order, W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    before = start_at(points(W, seed=seed))
    (now, _) = next(rounds(DPSGD(order), before, Network.of(W), local, count=1))
    where = before.rows if order != COMBINE_FIRST else W @ before.rows
    slope = (local.curvatures * (where - torch.cat(list(local.samples_of)))).mean(0)
    assert torch.allclose(now.rows.mean(0), before.rows.mean(0) - rate * slope, rtol=0, atol=1e-12)


@few
@given(st.integers(2, 12), steps, st.integers(0, 99))
def test_with_complete_averaging_it_is_pooled_gradient_descent(nodes, rate, seed):
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=rate)
    pooled = torch.zeros(3, dtype=torch.float64)
    start = start_at(torch.zeros(nodes, 3, dtype=torch.float64))
    for now, _ in rounds(DPSGD(), start, Network.of(mean_matrix(nodes)), local, count=6):
        pooled = pooled - rate * (local.curvatures * (pooled - torch.cat(list(local.samples_of)))).mean(0)
        assert torch.allclose(now.rows, pooled.expand(nodes, -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("graph", "rate"), [(graphs.ring(25), 0.1), (graphs.torus((4, 4)), 0.3)], ids=repr)
def test_noise_of_gradients_keeps_models_apart_as_theory_says(graph, rate):
    """Variance 1 in every gradient: (1/n) Σ_{λ≠1} η²λ²/(1 − (1−η)²λ²); on the ring of 25 with η = .1, .008022."""
    W, size = matrix_of(graph), 400
    generator = torch.Generator().manual_seed(5)

    class Noisy(Quadratics):
        def gradient(self, nodes):
            older, gradients = super().gradient(nodes)
            return older, gradients + torch.randn(gradients.shape, generator=generator, dtype=gradients.dtype)

    zero = [torch.zeros(1, size, dtype=torch.float64) for _ in range(len(W))]
    local = Noisy(
        zero, torch.ones(len(W), size, dtype=torch.float64), quadratics(2, learning_rate=rate).settings
    )
    run = rounds(DPSGD(), start_at(torch.cat(zero)), Network.of(W), local, count=400)
    spread = [float((now.rows - now.rows.mean(0)).square().sum(1).mean()) / size for now, _ in run]
    others = torch.linalg.eigvalsh(W)[:-1]
    floor = float((rate**2 * others**2 / (1 - (1 - rate) ** 2 * others**2)).sum()) / len(W)
    if graph.n == 25:
        assert floor == pytest.approx(0.008022, abs=1e-6)
    assert sum(spread[100:]) / 300 == pytest.approx(floor, rel=0.02)
