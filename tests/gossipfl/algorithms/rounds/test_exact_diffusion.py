"""Exact diffusion: its recursion, its limit, and what becomes of the mean."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.exact_diffusion import ExactDiffusion
from tests.gossipfl.algorithms.graphs_at_random import matrices, matrix_of
from tests.gossipfl.algorithms.rounds_by_hand import Network, after, few, quadratics, rounds, start_at
from topology import graphs

steps = st.floats(0.01, 0.5)


def points(W, *, size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(W), size, generator=generator, dtype=torch.float64)


@few
@given(matrices, steps, st.integers(0, 99))
def test_it_follows_the_recursion_that_eliminates_the_adapted_models(W, rate, seed):
    """X² = W̄ (2 X¹ − X⁰ − η (G¹ − G⁰)), and so on, from X¹ = W̄ (X⁰ − η G⁰)."""
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    before = start_at(points(W, seed=seed))
    lazy = (W + torch.eye(len(W), dtype=W.dtype)) / 2
    gradient = local.gradient(before)[1]
    expected = lazy @ (before.rows - rate * gradient)
    for now, _ in rounds(ExactDiffusion(), before, Network.of(W), local, count=6):
        assert torch.allclose(now.rows, expected, rtol=0, atol=1e-10)
        following = local.gradient(now)[1]
        expected = lazy @ (2 * now.rows - before.rows - rate * (following - gradient))
        before, gradient = now, following


@few
@given(matrices, steps, st.integers(0, 99))
def test_the_mean_moves_by_the_mean_gradient(W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    before = start_at(points(W, seed=seed))
    for now, _ in rounds(ExactDiffusion(), before, Network.of(W), local, count=5):
        expected = before.rows.mean(0) - rate * local.gradient(before)[1].mean(0)
        assert torch.allclose(now.rows.mean(0), expected, rtol=0, atol=1e-12)
        before = now


@few
@given(matrices, steps, st.integers(0, 99))
def test_with_one_curvature_the_mean_is_pooled_gradient_descent(W, rate, seed):
    """Where gradients are the same affine function up to a shift, the mean gradient is that at the mean."""
    local = quadratics(len(W), seed=seed, learning_rate=rate)
    pooled = torch.zeros(3, dtype=torch.float64)
    for now, _ in rounds(ExactDiffusion(), start_at(0 * points(W)), Network.of(W), local, count=5):
        pooled = pooled - rate * (pooled - local.optimum)
        assert torch.allclose(now.rows.mean(0), pooled, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "graph", [graphs.ring(9), graphs.hypercube(3), graphs.torus((4, 4)), graphs.star(7)], ids=repr
)
def test_it_reaches_the_optimum_where_d_psgd_does_not(graph):
    W = matrix_of(graph)
    local = quadratics(len(W), seed=1, curved=True, learning_rate=0.2)
    arguments = (start_at(points(W)), Network.of(W), local)
    away = (after(ExactDiffusion(), *arguments, count=900).rows - local.optimum).abs().max()
    biased = (after(DPSGD(), *arguments, count=300).rows - local.optimum).abs().max()
    assert away < 1e-10
    assert biased > 1e-3


def test_local_steps_and_momentum_are_part_of_the_adaptation():
    """One round from the start is a round of D-PSGD with W̄, whatever the training is."""
    W = matrix_of(graphs.ring(5))
    local = quadratics(5, largest=9, learning_rate=0.1, momentum=0.5, local_steps=3, batch_size=2)
    lazy = (W + torch.eye(5, dtype=W.dtype)) / 2
    once = after(ExactDiffusion(), start_at(points(W)), Network.of(W), local, count=1)
    diffusion = after(DPSGD(), start_at(points(W)), Network.of(lazy), local, count=1)
    assert torch.allclose(once.rows, diffusion.rows, rtol=0, atol=1e-13)
    assert torch.equal(once.optimiser_state, diffusion.optimiser_state)
    assert once.steps.tolist() == [3] * 5


def test_what_stays_local_is_trained_and_not_mixed():
    W = matrix_of(graphs.ring(4))
    local = quadratics(4, learning_rate=0.2)
    start = start_at(points(W))
    once = after(ExactDiffusion(), start, Network.of(W), local, count=1, shared_size=2)
    alone = start.rows - 0.2 * local.gradient(start)[1]
    assert torch.equal(once.rows[:, 2], alone[:, 2])
    assert not torch.allclose(once.rows[:, :2], alone[:, :2])
