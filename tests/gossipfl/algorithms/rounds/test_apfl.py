"""APFL in rounds and by gossip, against the recursion of the paper."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import Behaviour, Message
from gossipfl.algorithms.gossip.apfl import GossipAPFL
from gossipfl.algorithms.gossip.gossip_learning import GossipLearning
from gossipfl.algorithms.rounds.apfl import APFL
from gossipfl.algorithms.rounds.d_psgd import DPSGD
from gossipfl.errors import SettingError
from gossipfl.training.nodes import PERSONAL, Nodes
from tests.gossipfl.algorithms.graphs_at_random import matrices, matrix_of
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    after,
    few,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)
from topology import graphs

shares = st.floats(0, 1)
weights = matrices | st.builds(random_doubly_stochastic, st.integers(2, 7), st.integers(0, 1000))


def points(count, *, seed=0):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@few
@given(W=weights, rate=st.floats(0.01, 0.3), share=shares, adapts=st.booleans(), steps=st.integers(1, 3))
def test_it_follows_the_paper(W, rate, share, adapts, steps):
    local = quadratics(len(W), curved=True, largest=4, learning_rate=rate, local_steps=steps, batch_size=1)
    w = points(len(W))
    v, a = w.clone(), torch.full((len(W), 1), share, dtype=torch.float64)
    taken = torch.zeros(len(W), dtype=torch.int64)
    for now, _ in rounds(APFL(share=share, adapts=adapts), start_at(w), Network.of(W), local, count=4):
        for _ in range(steps):
            batches = torch.stack([local._batch_mean(i, int(taken[i])) for i in range(len(W))])
            of_mixed = local.curvatures * (a * v + (1 - a) * w - batches)
            of_shared = local.curvatures * (w - batches)
            slope = ((v - w) * of_mixed).sum(dim=1, keepdim=True)
            v, w = v - rate * a * of_mixed, w - rate * of_shared
            a = (a - rate * slope).clamp(0, 1) if adapts else a
            taken += 1
        w = W @ w
        assert torch.allclose(now.rows, w, rtol=0, atol=1e-10)
        assert torch.allclose(now.models, a * v + (1 - a) * w, rtol=0, atol=1e-10)


@few
@given(W=weights, momentum=st.sampled_from([0.0, 0.9]))
def test_a_fixed_share_of_one_trains_alone_and_of_none_is_the_shared_model(W, momentum):
    local = quadratics(len(W), curved=True, learning_rate=0.1, momentum=momentum)
    start, network = start_at(points(len(W))), Network.of(W)
    shared = after(DPSGD(), start, network, local, count=5).rows
    alone = after(DPSGD(), start, Network.of(torch.eye(len(W), dtype=torch.float64)), local, count=5).rows
    assert torch.allclose(after(APFL(share=0.0), start, network, local, count=5).models, shared, atol=1e-12)
    assert torch.allclose(after(APFL(share=1.0), start, network, local, count=5).models, alone, atol=1e-12)


@few
@given(share=shares, adapts=st.booleans(), seed=st.integers(0, 99))
def test_what_is_sent_tells_nothing_of_personal_models(share, adapts, seed):
    W = matrix_of(graphs.ring(5))
    local = quadratics(5, seed=seed, curved=True, learning_rate=0.2)
    start = start_at(points(5, seed=seed))
    plain = rounds(DPSGD(), start, Network.of(W), local, count=4, shared_size=2)
    ours = rounds(APFL(share=share, adapts=adapts), start, Network.of(W), local, count=4, shared_size=2)
    for (_, expected), (_, sent) in zip(plain, ours, strict=True):
        assert len(sent) == 1
        assert sent[0].rows.equal(expected[0].rows)


def test_what_stays_local_of_a_personal_model_is_trained_with_it():
    W = matrix_of(graphs.ring(4))
    local = quadratics(4, curved=True, learning_rate=0.1)
    now = after(APFL(share=1.0), start_at(points(4)), Network.of(W), local, count=3, shared_size=2)
    alone = after(DPSGD(), start_at(points(4)), Network.of(torch.eye(4, dtype=torch.float64)), local, count=3)
    assert torch.allclose(now.models, alone.rows, atol=1e-12)


def received(count, *, seed):
    message = Message(shared=points(count, seed=seed), ages=torch.arange(count))
    first = Nodes.start(points(count, seed=seed + 1), optimiser_state_size=3)
    return first, message


@few
@given(share=shares, adapts=st.booleans(), seed=st.integers(0, 99))
def test_by_gossip_the_shared_model_is_that_of_gossip_learning(share, adapts, seed):
    local = quadratics(4, seed=seed, curved=True, learning_rate=0.2)
    first, message = received(4, seed=seed)
    plain = GossipLearning().on_receipt(first, message, update=local.update)
    algorithm = GossipAPFL(share=share, adapts=adapts)
    ours = algorithm.on_receipt(algorithm.start(first), message, update=local.update)
    assert ours.rows.equal(plain.rows)
    assert ours.ages.equal(plain.ages)
    sent = algorithm.emit(ours, shared_size=3)
    assert sent.shared.equal(plain.rows)
    assert not sent.carried


def test_by_gossip_the_personal_model_takes_the_papers_step():
    local = quadratics(4, curved=True, learning_rate=0.2)
    first, message = received(4, seed=3)
    algorithm = GossipAPFL(share=0.3, adapts=True)
    ours = algorithm.on_receipt(algorithm.start(first), message, update=local.update)
    v, w = first.rows, GossipLearning().on_receipt(first, message, update=lambda same: same).rows
    mixed = first.rows  # as it was when the message came
    gradient = local.curvatures * (mixed - torch.cat(list(local.samples_of)))
    a = (0.3 - 0.2 * ((v - w) * gradient).sum(dim=1, keepdim=True)).clamp(0, 1)
    v = v - 0.2 * 0.3 * gradient
    assert torch.allclose(ours.models, a * v + (1 - a) * ours.rows, atol=1e-12)


def test_a_message_cannot_carry_a_personal_model():
    with pytest.raises(SettingError, match="personal"):
        Behaviour(carries=(PERSONAL,))
