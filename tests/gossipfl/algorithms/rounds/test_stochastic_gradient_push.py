"""SGP: exact averages on directed graphs, and D-PSGD where the matrices are doubly stochastic."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.stochastic_gradient_push import PUSH_SUM_WEIGHTS, StochasticGradientPush
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Still,
    after,
    few,
    quadratics,
    random_column_stochastic,
    random_doubly_stochastic,
    rounds,
    start_at,
)
from topology import graphs, mixing

SGP = StochasticGradientPush()


def mass(nodes) -> torch.Tensor:
    return (nodes.rows * nodes.auxiliary[PUSH_SUM_WEIGHTS]).sum(0)


@few
@given(nodes=st.integers(2, 12), seed=st.integers(0, 999))
def test_on_directed_graphs_it_reaches_the_exact_mean_and_loses_nothing_on_the_way(nodes, seed):
    P = random_column_stochastic(nodes, seed)
    local = quadratics(nodes, seed=seed, kind=Still)
    first = torch.stack([own[0] for own in local.samples_of])
    for state, _ in rounds(SGP, start_at(first), Network.of(P), local, count=600):
        assert torch.allclose(mass(state), first.sum(0), rtol=0, atol=1e-12)
        assert float(state.auxiliary[PUSH_SUM_WEIGHTS].sum()) == pytest.approx(nodes, abs=1e-12)
    assert torch.allclose(state.rows, first.mean(0).expand_as(first), rtol=0, atol=1e-12)


def test_where_row_averages_go_astray_push_sum_does_not():
    """On an irregular directed graph plain averaging with the same links ends on a weighted mean."""
    graph = graphs.from_edges([(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 0), (2, 4)], directed=True)
    values = torch.arange(5, dtype=torch.float64)[:, None]
    local = quadratics(5, size=1, kind=Still)
    P = torch.from_numpy(mixing.column_stochastic(graph).toarray())
    W = torch.from_numpy(mixing.uniform(graph).toarray())
    pushed = after(SGP, start_at(values), Network.of(P), local, count=400).rows
    averaged = after(DPSGD(), start_at(values), Network.of(W), local, count=400).rows
    assert torch.allclose(pushed, torch.full_like(values, 2.0), rtol=0, atol=1e-12)
    assert float(averaged.max() - averaged.min()) < 1e-12
    assert abs(float(averaged[0]) - 2) > 0.1


@few
@given(
    nodes=st.integers(2, 9),
    seed=st.integers(0, 999),
    momentum=st.sampled_from([0.0, 0.7]),
    steps=st.integers(1, 3),
)
def test_with_doubly_stochastic_matrices_it_is_d_psgd(nodes, seed, momentum, steps):
    local = quadratics(nodes, seed=seed, largest=4, batch_size=2, momentum=momentum, local_steps=steps)
    network = Network(lambda t: random_doubly_stochastic(nodes, seed + t))
    first = start_at(
        torch.randn(nodes, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    )
    pushed = after(SGP, first, network, local, count=8)
    plain = after(DPSGD(), first, network, local, count=8)
    assert torch.allclose(pushed.rows, plain.rows, rtol=0, atol=1e-12)
    assert torch.equal(pushed.ages, plain.ages)
    assert torch.allclose(pushed.auxiliary[PUSH_SUM_WEIGHTS], torch.ones(nodes, 1).double(), atol=1e-14)


@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999))
def test_it_is_the_papers_iteration(nodes, seed):
    """Algorithm 1 with x, w and z written out; the gradient is taken at z."""
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=0.05)
    P = random_column_stochastic(nodes, seed)
    b = torch.stack([own[0] for own in local.samples_of])
    x, w = torch.zeros_like(b), torch.ones(nodes, 1, dtype=torch.float64)
    for state, sent in rounds(SGP, start_at(x), Network.of(P), local, count=20):
        z = x / w
        x, w = P @ (x - 0.05 * local.curvatures * (z - b)), P @ w
        assert torch.allclose(state.rows, x / w, rtol=1e-11, atol=1e-11)
        assert [message.rows.shape for message in sent] == [(nodes, 4)]


def test_heterogeneous_quadratics_on_a_directed_graph_end_near_the_true_optimum_only_with_push_sum():
    nodes = 8
    local = quadratics(nodes, curved=True, learning_rate=0.005)
    P = random_column_stochastic(nodes, 4)
    W = P / P.sum(1, keepdim=True)
    start = start_at(torch.zeros(nodes, 3, dtype=torch.float64))
    pushed = after(SGP, start, Network.of(P), local, count=1500).rows.mean(0)
    averaged = after(DPSGD(), start, Network.of(W), local, count=1500).rows.mean(0)
    error, bias = (pushed - local.optimum).norm(), (averaged - local.optimum).norm()
    assert error < 0.02
    assert bias > 10 * error
