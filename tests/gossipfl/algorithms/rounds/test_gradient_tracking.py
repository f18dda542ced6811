"""Gradient tracking in its three orders, against the recursions of the papers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms.rounds.gradient_tracking import TRACKER, GradientTracking
from tests.gossipfl.algorithms.graphs_at_random import matrices, matrix_of
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    after,
    few,
    mean_matrix,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)
from topology import graphs, sequences

ATC, SEMI, DIGING = "adapt-then-combine", "semi-adapt-then-combine", "combine-then-adapt"
ORDERS = [ATC, SEMI, DIGING]
steps = st.floats(0.01, 0.3)
directed = st.builds(random_doubly_stochastic, st.integers(2, 9), st.integers(0, 1000))


def points(W, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(W), 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("order", ORDERS)
@few
@given(W=matrices | directed, rate=steps, seed=st.integers(0, 99))
def test_it_follows_the_recursion_of_its_order(order, W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    nodes = start_at(points(W, seed=seed))
    X, Y, last = nodes.rows, torch.zeros_like(nodes.rows), torch.zeros_like(nodes.rows)
    for now, _ in rounds(GradientTracking(order), nodes, Network.of(W), local, count=6):
        G = local.curvatures * (X - torch.cat(list(local.samples_of)))
        Y = W @ (Y + G - last) if order == ATC else W @ Y + G - last
        X = W @ X - rate * Y if order == DIGING else W @ (X - rate * Y)
        last = G
        assert torch.allclose(now.rows, X, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ORDERS)
@few
@given(W=matrices | directed, rate=steps, seed=st.integers(0, 99))
def test_trackers_sum_to_gradients_and_the_mean_moves_by_their_mean(order, W, rate, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=rate)
    before = start_at(points(W, seed=seed))
    for now, _ in rounds(GradientTracking(order), before, Network.of(W), local, count=5):
        slope = local.gradient(before)[1].mean(0)
        assert torch.allclose(now.auxiliary[TRACKER].mean(0), slope, rtol=0, atol=1e-11)
        assert torch.allclose(now.rows.mean(0), before.rows.mean(0) - rate * slope, rtol=0, atol=1e-12)
        before = now


@pytest.mark.parametrize("order", [ATC, SEMI])
@few
@given(nodes=st.integers(2, 12), rate=steps, seed=st.integers(0, 99))
def test_with_complete_averaging_it_is_pooled_gradient_descent(order, nodes, rate, seed):
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=rate)
    W = mean_matrix(nodes)
    pooled = torch.zeros(3, dtype=torch.float64)
    for now, _ in rounds(GradientTracking(order), start_at(0 * points(W)), Network.of(W), local, count=6):
        pooled = pooled - rate * (local.curvatures * (pooled - torch.cat(list(local.samples_of)))).mean(0)
        assert torch.allclose(now.rows, pooled.expand(nodes, -1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("graph", [graphs.ring(9), graphs.hypercube(3), graphs.star(7)], ids=repr)
def test_it_reaches_the_optimum(order, graph):
    W = matrix_of(graph)
    local = quadratics(len(W), seed=1, curved=True, learning_rate=0.05)
    run = after(GradientTracking(order), start_at(points(W)), Network.of(W), local, count=1200)
    assert (run.rows - local.optimum).abs().max() < 1e-10


@pytest.mark.parametrize("order", ORDERS)
def test_it_reaches_the_optimum_over_changing_directed_graphs(order):
    sequence = sequences.one_peer_exponential(16)
    network = Network(lambda t: torch.from_numpy(sequence.matrix(t).toarray()))
    local = quadratics(16, seed=2, curved=True, learning_rate=0.1)
    start = start_at(torch.zeros(16, 3, dtype=torch.float64))
    run = after(GradientTracking(order), start, network, local, count=600)
    assert (run.rows - local.optimum).abs().max() < 1e-12


@pytest.mark.parametrize(("order", "widths"), [(ATC, [3, 3]), (SEMI, [6]), (DIGING, [6])])
def test_every_order_sends_twice_the_numbers_of_a_model(order, widths):
    W = matrix_of(graphs.ring(4))
    run = rounds(GradientTracking(order), start_at(points(W)), Network.of(W), quadratics(4), count=1)
    _, sent = next(run)
    assert [exchange.rows.shape[1] for exchange in sent] == widths


@pytest.mark.parametrize("order", ORDERS)
def test_what_stays_local_descends_its_own_gradient(order):
    W = matrix_of(graphs.ring(4))
    local = quadratics(4, learning_rate=0.2)
    start = start_at(points(W))
    alone = start.rows
    for now, sent in rounds(GradientTracking(order), start, Network.of(W), local, count=3, shared_size=2):
        alone = alone - 0.2 * (alone - torch.cat(list(local.samples_of)))
        assert torch.allclose(now.rows[:, 2], alone[:, 2], rtol=0, atol=1e-14)
        assert sum(exchange.rows.shape[1] for exchange in sent) == 4
