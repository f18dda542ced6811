"""D²: its recursion, where it converges and where not."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gossipfl.algorithms.rounds.d_squared import DSquared
from gossipfl.algorithms.rounds.exact_diffusion import ExactDiffusion
from tests.gossipfl.algorithms.graphs_at_random import matrices, matrix_of
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    after,
    few,
    mean_matrix,
    quadratics,
    rounds,
    start_at,
)
from topology import graphs

steps = st.floats(0.01, 0.5)


def points(W, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(W), 3, generator=generator, dtype=torch.float64)


@few
@given(matrices, steps, st.integers(0, 99))
def test_it_follows_the_recursion_of_the_paper(W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    before = start_at(points(W, seed=seed))
    gradient = local.gradient(before)[1]
    expected = W @ (before.rows - rate * gradient)
    for now, _ in rounds(DSquared(), before, Network.of(W), local, count=6):
        assert torch.allclose(now.rows, expected, rtol=0, atol=1e-8)
        following = local.gradient(now)[1]
        expected = W @ (2 * now.rows - before.rows - rate * following + rate * gradient)
        before, gradient = now, following


@few
@given(matrices, steps, st.integers(0, 99))
def test_with_lazy_weights_it_is_exact_diffusion(W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    lazy = Network.of((W + torch.eye(len(W), dtype=W.dtype)) / 2)
    start = start_at(points(W, seed=seed))
    one = after(DSquared(), start, lazy, local, count=8)
    other = after(ExactDiffusion(), start, Network.of(W), local, count=8)
    assert torch.allclose(one.rows, other.rows, rtol=0, atol=1e-12)


@few
@given(st.integers(2, 12), steps, st.integers(0, 99))
def test_with_complete_averaging_it_is_pooled_gradient_descent(nodes, rate, seed):
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=rate)
    W = mean_matrix(nodes)
    pooled = torch.zeros(3, dtype=torch.float64)
    for now, _ in rounds(DSquared(), start_at(0 * points(W)), Network.of(W), local, count=6):
        slope = (local.curvatures * (pooled - torch.cat(list(local.samples_of)))).mean(0)
        pooled = pooled - rate * slope
        assert torch.allclose(now.rows, pooled.expand(nodes, -1), rtol=0, atol=1e-11)


@few
@given(matrices, steps, st.integers(0, 99))
def test_the_mean_moves_by_the_mean_gradient(W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    before = start_at(points(W, seed=seed))
    for now, _ in rounds(DSquared(), before, Network.of(W), local, count=5):
        expected = before.rows.mean(0) - rate * local.gradient(before)[1].mean(0)
        assert torch.allclose(now.rows.mean(0), expected, rtol=0, atol=1e-10)
        before = now


@few
@given(matrices, steps, st.integers(0, 99))
def test_on_quadratics_it_diverges_exactly_where_an_eigenvalue_is_too_low(W, rate, seed):
    """With unit curvature, mode λ has the roots of z² − λ(2 − η)z + λ(1 − η): one below −1 iff λ < −1/(3 − 2η)."""
    lowest, bound = float(torch.linalg.eigvalsh(W)[0]), -1 / (3 - 2 * rate)
    assume(abs(lowest - bound) > 0.02)
    local = quadratics(len(W), seed=seed, learning_rate=rate)
    run = rounds(DSquared(), start_at(points(W, seed=seed)), Network.of(W), local, count=300)
    spread = [float(now.rows.var(0).sum()) for now, _ in run]
    assert (spread[-1] > 100 * max(spread[200], 1e-20)) == (lowest < bound)


@pytest.mark.parametrize(
    ("graph", "converges"),
    [
        (graphs.ring(16), True),
        (graphs.torus((4, 4)), False),
        (graphs.hypercube(4), False),
        (graphs.complete(16), True),
        (graphs.torus((3, 3)), True),
    ],
    ids=repr,
)
def test_on_known_graphs(graph, converges):
    W = matrix_of(graph)
    local = quadratics(len(W), seed=1, learning_rate=0.1)
    away = (
        after(DSquared(), start_at(points(W)), Network.of(W), local, count=900).rows - local.optimum
    ).abs()
    assert away.max() < 1e-10 if converges else away.max() > 1e6
