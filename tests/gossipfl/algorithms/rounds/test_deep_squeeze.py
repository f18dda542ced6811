"""DeepSqueeze: errors of compression are sent later."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.deep_squeeze import DeepSqueeze
from gossipfl.codecs import codec
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.compressing import distance, network_of, normal_rows, random_symmetric
from tests.gossipfl.algorithms.rounds_by_hand import Still, after, few, quadratics, rounds, start_at

CODECS = [None, "int8:5", "qsgd-shrunk:2", "sign", "top:2", "random:2"]


def deep_squeeze(name, step_size):
    return DeepSqueeze(codec=codec(name) if name else None, consensus_step_size=step_size)


@given(seed=st.integers(0, 10**6), nodes=st.integers(3, 9))
@few
def test_without_compression_and_with_full_steps_it_is_d_psgd(seed, nodes):
    network = network_of(random_symmetric(nodes, seed))
    local = quadratics(nodes, seed=seed, largest=3, curved=True, learning_rate=0.1, momentum=0.6)
    start = start_at(normal_rows(nodes, 3, seed=seed))
    ours = after(DeepSqueeze(), start, network, local, count=6)
    theirs = after(DPSGD(), start, network, local, count=6)
    assert torch.allclose(ours.rows, theirs.rows, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(CODECS), step_size=st.floats(0.01, 1))
@few
def test_the_mean_is_preserved_whatever_is_left_out(seed, name, step_size):
    start = normal_rows(7, 12, seed=seed)
    network, local = network_of(random_symmetric(7, seed)), quadratics(7, size=12, kind=Still)
    for nodes, _ in rounds(deep_squeeze(name, step_size), start_at(start), network, local, count=5):
        scale = 1 + float(nodes.rows.abs().max())
        assert torch.allclose(nodes.rows.mean(0), start.mean(0), rtol=0, atol=1e-12 * scale)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(CODECS))
@few
def test_nothing_is_lost_over_time(seed, name):
    """Σ_t Q(v_t) + e_T = Σ_t x_t: all that was to be sent has been, but for the last error."""
    start, W = normal_rows(6, 8, seed=seed), random_symmetric(6, seed)
    local, network = quadratics(6, size=8, kind=Still), network_of(W)
    wanted, sent_in_all, before = torch.zeros(6, 8), torch.zeros(6, 8), start
    for t, (nodes, sent) in enumerate(
        rounds(deep_squeeze(name, 0.1), start_at(start), network, local, count=6)
    ):
        wanted = wanted + before
        sent_in_all = sent_in_all + network.answer(sent[0], t).sent
        before = nodes.rows
    left = nodes.auxiliary["compression errors"]
    assert torch.allclose(sent_in_all + left, wanted, rtol=0, atol=1e-9 * (1 + float(left.abs().max())))


def test_one_round_by_hand():
    """Two nodes send the larger of two numbers: 3 and 4 are sent, 1 and −2 are left; γ is one half."""
    W = torch.full((2, 2), 0.5, dtype=torch.float64)
    start = torch.tensor([[3.0, 1.0], [-2.0, 4.0]], dtype=torch.float64)
    local = quadratics(2, size=2, kind=Still)
    nodes = after(deep_squeeze("top:1", 0.5), start_at(start), network_of(W), local, count=1)
    # mean of sent (1.5, 2): (3, 1) + ½((1.5, 2) − (3, 0)) and (−2, 4) + ½((1.5, 2) − (0, 4))
    assert nodes.rows.tolist() == [[2.25, 2.0], [-1.25, 3.0]]
    assert nodes.auxiliary["compression errors"].tolist() == [[0.0, 1.0], [-2.0, 0.0]]


def test_training_with_it_comes_near_the_optimum():
    local = quadratics(8, size=10, learning_rate=0.02)
    network, start = network_of(random_symmetric(8, 2)), start_at(normal_rows(8, 10))
    nodes = after(deep_squeeze("qsgd-shrunk:16", 0.3), start, network, local, count=1200)
    assert float((nodes.rows.mean(0) - local.optimum).norm()) < 0.02
    alone = after(DPSGD(), start, network_of(torch.eye(8, dtype=torch.float64)), local, count=1200)
    assert distance(nodes.rows) < 0.2 * distance(alone.rows)


def test_step_sizes_out_of_range_are_refused():
    with pytest.raises(SettingError, match="above 0 and at most 1"):
        DeepSqueeze(consensus_step_size=1.5)
