"""CHOCO-SGD and CHOCO-Gossip."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD, Mixed
from gossipfl.algorithms.rounds.choco import ChocoSGD
from gossipfl.codecs import codec
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.compressing import (
    CompressingNetwork,
    distance,
    network_of,
    normal_rows,
    random_symmetric,
    ring_matrix,
)
from tests.gossipfl.algorithms.rounds_by_hand import Still, after, few, quadratics, rounds, start_at

CODECS = [None, "bfloat16", "int8:5", "qsgd:8", "qsgd-shrunk:2", "sign", "top:2", "random:2"]


def choco(name, step_size):
    return ChocoSGD(codec=codec(name) if name else None, consensus_step_size=step_size)


def rounds_until(algorithm, ratios, *, limit, seed=0):
    """Rounds until ‖X − X̄‖²_F has fallen to each of the ratios of what it was."""
    start = normal_rows(25, 2000, seed=seed)
    local, wanted, reached = quadratics(25, size=1, kind=Still), list(ratios), []
    first = distance(start)
    run = rounds(algorithm, start_at(start), network_of(ring_matrix(25)), local, count=limit)
    for t, (nodes, _) in enumerate(run, start=1):
        while wanted and distance(nodes.rows) < wanted[0] * first:
            reached.append(t)
            wanted.pop(0)
        if not wanted:
            break
    return reached


@pytest.mark.parametrize(
    ("name", "step_size", "expected", "tolerance"),
    [
        (None, 1.0, [51, 160], 0),
        ("qsgd:256", 1.0, [51, 160], 0.02),
        ("sign", 0.3, [181, 644], 0.05),
        pytest.param("top:0.01", 0.046, [1138, 3485], 0.05, marks=pytest.mark.slow),
    ],
)
def test_rounds_to_consensus_on_a_ring_of_25(name, step_size, expected, tolerance):
    """2000 numbers a node, drawn from N(0, 1); Metropolis–Hastings weights; until ‖X − X̄‖² < 1e-2, 1e-4 of it."""
    reached = rounds_until(choco(name, step_size), (1e-2, 1e-4), limit=4000)
    assert reached == pytest.approx(expected, rel=tolerance)


@given(seed=st.integers(0, 10**6), nodes=st.integers(3, 9))
@few
def test_without_compression_and_with_full_steps_it_is_d_psgd(seed, nodes):
    network = network_of(random_symmetric(nodes, seed))
    local = quadratics(nodes, seed=seed, largest=3, curved=True, learning_rate=0.1, momentum=0.6)
    start = start_at(normal_rows(nodes, 3, seed=seed))
    ours = after(ChocoSGD(), start, network, local, count=6)
    theirs = after(DPSGD(), start, network, local, count=6)
    assert torch.allclose(ours.rows, theirs.rows, rtol=0, atol=1e-12)
    assert ours.steps.equal(theirs.steps)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(CODECS), step_size=st.floats(0.01, 1))
@few
def test_the_mean_is_preserved_whatever_is_left_out(seed, name, step_size):
    start = normal_rows(7, 12, seed=seed)
    network, local = network_of(random_symmetric(7, seed)), quadratics(7, size=12, kind=Still)
    for nodes, _ in rounds(choco(name, step_size), start_at(start), network, local, count=5):
        scale = 1 + float(nodes.rows.abs().max())
        assert torch.allclose(nodes.rows.mean(0), start.mean(0), rtol=0, atol=1e-12 * scale)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(CODECS))
@few
def test_the_sum_of_copies_is_that_of_the_copies(seed, name):
    """What a node keeps of its neighbours is Σ_j w_ij x̂_j, and x̂ is the sum of all that was sent."""
    W, start = random_symmetric(6, seed), normal_rows(6, 8, seed=seed)
    local = quadratics(6, size=8, seed=seed, learning_rate=0.1)
    for nodes, sent in rounds(choco(name, 0.2), start_at(start), network_of(W), local, count=4):
        public, mixed = nodes.auxiliary["public copies"], nodes.auxiliary["mixed public copies"]
        assert torch.allclose(W @ public, mixed, rtol=0, atol=1e-10)
        (exchange,) = sent
        assert exchange.compressor == (codec(name) if name else None)


@pytest.mark.parametrize(("name", "step_size"), [("sign", 0.1), ("top:3", 0.1), ("qsgd-shrunk:1", 0.1)])
def test_it_reaches_the_exact_mean_however_coarse_the_codec(name, step_size):
    start, network = normal_rows(8, 20), network_of(random_symmetric(8, 1))
    local = quadratics(8, size=20, kind=Still)
    nodes = after(choco(name, step_size), start_at(start), network, local, count=900)
    assert distance(nodes.rows) < 1e-14 * distance(start)


def test_training_and_compression_together_reach_the_optimum_as_d_psgd_does():
    local = quadratics(8, size=10, learning_rate=0.02)
    network = network_of(random_symmetric(8, 2))
    start = start_at(normal_rows(8, 10))
    ours = after(choco("top:2", 0.3), start, network, local, count=1500).rows
    plain = after(DPSGD(), start, network, local, count=1500).rows
    away = [float((rows.mean(0) - local.optimum).norm()) for rows in (ours, plain)]
    assert away[0] < 0.02
    assert away[1] < 0.02
    apart = float((torch.stack([own.mean(0) for own in local.samples_of]) - local.optimum).square().sum())
    assert distance(plain) < distance(ours) < 0.1 * apart


def test_what_is_not_shared_stays():
    start = start_at(normal_rows(5, 6))
    local = quadratics(5, size=6, kind=Still)
    nodes = after(choco("sign", 0.5), start, network_of(ring_matrix(5)), local, count=3, shared_size=4)
    assert nodes.rows[:, 4:].equal(start.rows[:, 4:])
    assert not nodes.rows[:, :4].equal(start.rows[:, :4])
    assert nodes.auxiliary["public copies"].shape == (5, 4)


@pytest.mark.parametrize("step_size", [0.0, -0.1, 1.01, float("nan")])
def test_step_sizes_out_of_range_are_refused(step_size):
    with pytest.raises(SettingError, match="above 0 and at most 1"):
        ChocoSGD(consensus_step_size=step_size)


def test_it_asks_for_one_symmetric_matrix():
    requirements = ChocoSGD().requirements
    assert requirements.symmetric
    assert requirements.static
    assert requirements.stochastic == "doubly"


class LosingOnce(CompressingNetwork):
    """In round 5 node 0 does not hear from node 1, whose weight goes back to itself."""

    def answer(self, sent, t):
        mixed = super().answer(sent, t)
        if t != 5:
            return mixed
        lost = self.matrix(t)[0, 1] * (mixed.sent[0] - mixed.sent[1])
        return Mixed(rows=torch.cat([mixed.rows[:1] + lost, mixed.rows[1:]]), sent=mixed.sent)


@pytest.mark.parametrize("restart_every", [None, 40])
def test_after_a_restart_a_lost_message_moves_the_mean_no_more(restart_every):
    start, local = normal_rows(6, 10), quadratics(6, size=10, kind=Still)
    algorithm = ChocoSGD(codec=codec("top:3"), consensus_step_size=0.2, restart_every=restart_every)
    W = random_symmetric(6, 3)
    assert W[0, 1] > 0
    network = LosingOnce(lambda _: W)
    means = [nodes.rows.mean(0) for nodes, _ in rounds(algorithm, start_at(start), network, local, count=121)]
    moved = [float((after - before).norm()) for before, after in itertools.pairwise(means)]
    assert max(moved[:4]) < 1e-12
    assert min(moved[4:39]) > 1e-4
    if restart_every is None:
        assert min(moved[39:]) > 1e-4
    else:
        assert max(moved[39:]) < 1e-12


def test_only_with_restarts_may_messages_be_lost():
    assert "restart_every" in ChocoSGD().requirements.every_message
    assert ChocoSGD(restart_every=10).requirements.every_message is None
    with pytest.raises(SettingError, match="restart_every is out of range; expected at least 1; got 0"):
        ChocoSGD(restart_every=0)
