"""D-Cliques: gradients averaged in cliques, models among neighbours."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.d_cliques import DCliques
from gossipfl.algorithms.rounds.pooled_sgd import PooledSGD
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

MOMENTA = st.sampled_from([0.0, 0.7])


@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999), momentum=MOMENTA, batch=st.integers(1, 6))
def test_one_clique_of_all_is_pooled_sgd(nodes, seed, momentum, batch):
    local = quadratics(nodes, seed=seed, largest=6, curved=True, momentum=momentum, batch_size=batch)
    start = start_at(torch.ones(nodes, 3).double())
    for W in (mean_matrix(nodes), random_doubly_stochastic(nodes, seed)):
        network = Network.of(W, cliques=torch.zeros(nodes, dtype=torch.int64))
        rows = after(DCliques(), start, network, local, count=8).rows
        assert torch.allclose(rows, after(PooledSGD(), start, network, local, count=8).rows, atol=1e-12)


@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999), momentum=MOMENTA)
def test_cliques_of_one_are_d_psgd(nodes, seed, momentum):
    local = quadratics(nodes, seed=seed, largest=6, batch_size=2, momentum=momentum)
    network = Network.of(random_doubly_stochastic(nodes, seed), cliques=torch.arange(nodes))
    start = start_at(torch.ones(nodes, 3).double())
    rows = after(DCliques(), start, network, local, count=8).rows
    assert torch.allclose(rows, after(DPSGD(), start, network, local, count=8).rows, rtol=0, atol=1e-12)


@few
@given(nodes=st.integers(2, 9), seed=st.integers(0, 999), momentum=MOMENTA, count=st.integers(1, 4))
def test_it_is_the_papers_iteration(nodes, seed, momentum, count):
    local = quadratics(nodes, seed=seed, curved=True, momentum=momentum, learning_rate=0.1)
    cliques = torch.randint(0, count, (nodes,), generator=torch.Generator().manual_seed(seed))
    W = random_doubly_stochastic(nodes, seed)
    b = torch.stack([own[0] for own in local.samples_of])
    x, v = torch.zeros_like(b), torch.zeros_like(b)
    for state, sent in rounds(DCliques(), start_at(x), Network.of(W, cliques=cliques), local, count=6):
        gradients = local.curvatures * (x - b)
        g = torch.stack([gradients[cliques == cliques[i]].mean(0) for i in range(nodes)])
        v = momentum * v + g
        x = W @ (x - 0.1 * v)
        assert torch.allclose(state.rows, x, rtol=0, atol=1e-12)
        assert [message.over for message in sent] == ["clique", "neighbours"]


def test_cliques_that_see_everything_leave_no_heterogeneity():
    """Two labels, cliques of one node of each: with any mixing all models agree on the optimum at once."""
    nodes = 8
    local = quadratics(nodes, seed=3, learning_rate=0.2)
    pair = torch.stack([local.samples_of[0], local.samples_of[1]])
    samples = [pair[i % 2] for i in range(nodes)]
    local = type(local)(samples, local.curvatures, local.settings)
    network = Network.of(random_doubly_stochastic(nodes, 1), cliques=torch.arange(nodes) // 2)
    start = start_at(torch.zeros(nodes, 3).double())
    rows = after(DCliques(), start, network, local, count=200).rows
    gossiped = after(DPSGD(), start, network, local, count=200).rows
    assert torch.allclose(rows, local.optimum.expand_as(rows), rtol=0, atol=1e-12)
    assert float((gossiped - local.optimum).abs().max()) > 0.05


def test_what_stays_local_follows_its_own_gradient():
    local = quadratics(4, curved=True, learning_rate=0.1)
    network = Network.of(mean_matrix(4), cliques=torch.zeros(4, dtype=torch.int64))
    start = start_at(torch.zeros(4, 3).double())
    rows = after(DCliques(), start, network, local, count=1, shared_size=2).rows
    own = 0.1 * local.curvatures * torch.stack([s[0] for s in local.samples_of])
    assert torch.allclose(rows[:, :2], own[:, :2].mean(0).expand(4, 2), atol=1e-12)
    assert torch.allclose(rows[:, 2:], own[:, 2:], atol=1e-12)
