"""NoLoCo in few bits a number: what receivers make of residues, and how far that is from the mean."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import RoundContext
from gossipfl.algorithms.exchanges import NeighbourRows
from gossipfl.algorithms.rounds.close_ones import mixed_residues
from gossipfl.algorithms.rounds.noloco import NoLoCo, _say_once
from gossipfl.codecs import Residues, wrapped
from gossipfl.errors import NonFiniteUpdate, SettingError, UnexpectedTensor
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Still,
    after,
    few,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)
from tests.gossipfl.codecs.made import received

bits, seeds = st.integers(1, 12), st.integers(0, 99)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass
class InBits(Network):
    """Carries what receivers decode."""

    def answer(self, sent, t):
        keys = torch.arange(len(sent.rows))
        return super().answer(replace(sent, rows=sent.compressor.compress(sent.rows, keys=keys)), t)


def mixed(rows, W, *, round_number=0, share=1.0, bits=2, distance=1.0):
    """Rows after one exchange, and the exchange."""
    (now, _), sent = mixed_and_apart(
        rows, W, round_number=round_number, share=share, bits=bits, distance=distance
    )
    return now, sent


def mixed_and_apart(rows, W, *, round_number=0, share=1.0, bits=2, distance=1.0):
    """Rows after one exchange and how many numbers seem to be too far apart; and the exchange."""
    context = RoundContext(
        local=None, shared_size=rows.shape[1], round=round_number, numbers=torch.arange(len(rows))
    )
    going = mixed_residues(rows, context, share=share, bits=bits, distance=distance)
    sent = next(going)
    assert isinstance(sent, NeighbourRows)
    with pytest.raises(StopIteration) as end:
        going.send(InBits.of(W).answer(sent, round_number))
    return end.value.value, sent


@few
@given(st.integers(2, 7), bits, st.floats(0.05, 1), st.floats(1e-3, 10), seeds)
def test_models_that_are_close_are_averaged_to_half_a_cell(n, b, share, distance, seed):
    W, size = random_doubly_stochastic(n, seed), 40
    apart = (2 * torch.rand(n, size, generator=torch.Generator().manual_seed(seed)).double() - 1) * 0.499
    rows = 50 * normal(1, size, seed=seed) + distance * apart
    now, sent = mixed(rows, W, share=share, bits=b, distance=distance)
    cell = 2 * distance / (2**b - 1)
    assert sent.rows.shape == (n, max(1, round(share * size)))
    changed = (now != rows).any(0)
    assert int(changed.sum()) <= sent.rows.shape[1]
    allowed = (1 - W.diagonal())[:, None] * cell / 2 + 1e-9
    assert bool(((now - W @ rows).abs() <= allowed)[:, changed].all())


@few
@given(st.integers(2, 7), bits, seeds)
def test_models_that_are_too_far_apart_move_little(n, b, seed):
    W, rows = random_doubly_stochastic(n, seed), 1000 * normal(n, 30, seed=seed)
    now, _ = mixed(rows, W, bits=b, distance=0.1)
    cell = 0.2 / (2**b - 1)
    assert bool(((now - rows).abs() <= (1 - W.diagonal())[:, None] * 2 ** (b - 1) * cell + 1e-9).all())


@pytest.mark.parametrize("b", [2, 3, 6])
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_it_is_seen_where_models_are_too_far_apart(b, share):
    """Though no receiver can tell of a single number: it is a rate."""
    W, rows = random_doubly_stochastic(4, 1), normal(4, 20_000)
    close = torch.full_like(rows, 5.0) + 0.1 * rows.clamp(-2, 2)  # at most 0.4 apart
    wanted = {"share": share, "bits": b, "distance": 1.0}

    def apart(rows, **changes):
        found = mixed_and_apart(rows, W, **{**wanted, **changes})[0][1]
        assert found.shape == (4, 1)
        return found.flatten().tolist()

    assert apart(close) == [0] * 4
    assert apart(1000 * rows) == pytest.approx([1] * 4, abs=0.2)
    half = torch.where(torch.arange(20_000) % 2 == 0, close, 1000 * rows)
    assert apart(half) == pytest.approx([0.5] * 4, abs=0.15)
    assert apart(1000 * rows, bits=1) == [0] * 4  # with one bit it is not
    pairs = torch.kron(torch.eye(2), torch.full((2, 2), 0.5)).double()
    liar = torch.cat([close[:3], 1000 * rows[3:]])
    (_, found), _ = mixed_and_apart(liar, pairs, **wanted)
    assert found.flatten().tolist() == pytest.approx([0, 0, 1, 1], abs=0.2)


def test_what_is_measured_is_kept_of_the_last_round_with_bits_alone():
    W, local = random_doubly_stochastic(6, 4), quadratics(6, size=300, kind=Still, learning_rate=0.1)
    start = start_at(normal(1, 300) + 0.02 * normal(6, 300, seed=1))
    assert "wrong_residues" not in after(NoLoCo(), start, Network.of(W), local, count=1).auxiliary
    for reach, low, high in ((2.0, 0, 0), (0.01, 0.5, 1)):
        algorithm = NoLoCo(bits=2, reach=reach)
        found = after(algorithm, start, InBits.of(W), local, count=1).auxiliary["wrong_residues"]
        assert list(algorithm.measures) == ["wrong_residues"]
        assert found.shape == (6, 1)
        assert low <= float(found.mean()) <= high


def test_models_that_are_too_far_apart_are_named_once(caplog):
    _say_once.cache_clear()
    W, local = random_doubly_stochastic(6, 4), quadratics(6, size=300, kind=Still, learning_rate=0.1)
    start = start_at(normal(1, 300) + 0.02 * normal(6, 300, seed=1))
    after(NoLoCo(bits=2), start, InBits.of(W), local, count=3)
    after(NoLoCo(bits=2, reach=0.01), start, InBits.of(W), local, count=1)  # the first round is not judged
    assert caplog.text == ""
    after(NoLoCo(bits=2, reach=0.01), start, InBits.of(W), local, count=3)
    assert caplog.text.count("farther apart than reach = 0.01 allows for 2 bits") == 1


def test_what_receivers_make_of_residues_is_right_in_the_mean():
    size, W = 40_000, torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    rows = torch.tensor([[0.3], [0.43]], dtype=torch.float64).expand(2, size)
    now, _ = mixed(rows, W, bits=2, distance=0.5)
    errors = now - rows.flip(0)
    assert float(errors.abs().max()) > 0.1  # cells of a third
    assert errors.mean(1).abs().max() < 5 * (1 / 3) / (12 * size) ** 0.5


def test_every_round_has_draws_of_its_own():
    rows, W = normal(2, 50), torch.full((2, 2), 0.5, dtype=torch.float64)
    first, again, second = (mixed(rows, W, round_number=t, share=0.5, distance=9.0)[0] for t in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@few
@given(st.integers(2, 7), st.floats(0, 0.9), st.floats(0.1, 1.2), seeds)
def test_in_sixteen_bits_noloco_is_itself(n, mu, eta, seed):
    W = random_doubly_stochastic(n, seed)
    local = quadratics(n, seed=seed, curved=True, learning_rate=0.05, local_steps=3)
    start = start_at(normal(1, 3, seed=seed).expand(n, -1))
    about = {"momentum": mu, "outer_rate": eta}
    full = after(NoLoCo(**about), start, Network.of(W), local, count=5)
    short = after(NoLoCo(bits=16, reach=400.0, **about), start, InBits.of(W), local, count=5)
    assert torch.allclose(short.rows, full.rows, atol=0.05)


def test_a_coarser_cell_leaves_models_farther_apart():
    W, n = random_doubly_stochastic(6, 4), 6
    local = quadratics(n, size=300, kind=Still, learning_rate=0.1)
    start = start_at(normal(1, 300) + 0.02 * normal(n, 300, seed=1))
    spread = [
        float(after(NoLoCo(bits=b), start, InBits.of(W), local, count=40).rows.std(0).mean())
        for b in (2, 4, 12)
    ]
    assert spread[0] > 3 * spread[1] > 9 * spread[2]


def test_reach_follows_the_schedule_four_rounds_behind():
    settings = {
        "learning_rate": 0.4,
        "local_steps": 5,
        "schedule": "cosine",
        "decay_age": 40,
        "final_fraction": 0.0,
    }
    local = quadratics(2, size=4, kind=Still, **settings)
    start = start_at(torch.full((2, 4), 1e4, dtype=torch.float64))
    network = InBits.of(torch.full((2, 2), 0.5).double())
    before = start.rows
    for t, (now, (sent,)) in enumerate(rounds(NoLoCo(bits=1, reach=3.0), start, network, local, count=8)):
        rate = 0.2 * (1 + math.cos(math.pi * max(0, t - 4) / 8))
        assert bool(((sent.rows - before / (2 * 3.0 * 5 * rate)).abs() < 0.501).all())  # and dither
        before = now.rows


def test_models_stay_numbers_where_a_schedule_has_ended():
    settings = {"learning_rate": 0.4, "schedule": "cosine", "decay_age": 1, "final_fraction": 0.0}
    local = quadratics(2, size=4, kind=Still, **settings)
    start = start_at(normal(2, 4))
    network = InBits.of(torch.full((2, 2), 0.5).double())
    final = after(NoLoCo(bits=2), start, network, local, count=8).rows
    assert bool(final.isfinite().all())
    assert bool(((final - start.rows).abs() < 8 * 2 * 2 * 0.4).all())


def test_reach_follows_rates_that_rise_within_a_round():
    local = quadratics(2, size=4, kind=Still, learning_rate=0.4, local_steps=10, warm_up=10)
    start = start_at(torch.full((2, 4), 1e4, dtype=torch.float64))
    network = InBits.of(torch.full((2, 2), 0.5).double())
    ((_, (sent,)),) = rounds(NoLoCo(bits=1, reach=3.0), start, network, local, count=1)
    assert bool(((sent.rows - start.rows / (2 * 3.0 * 10 * 0.4)).abs() < 0.501).all())  # and dither


@few
@given(bits, st.integers(0, 90), seeds)
def test_receivers_decode_what_the_simulation_computed(b, size, seed):
    row = (20 * normal(size, seed=seed)).float()
    codec = Residues(b)
    payload = codec.encode(row)
    assert sum(each.data.nbytes for each in payload) == codec.payload_bytes(size) == (size * b + 7) // 8
    read = codec.decode(received(payload), size)
    assert torch.equal(read, codec.compress(row[None], keys=torch.tensor([0]))[0])
    assert torch.equal(wrapped(read - row.round(), 2**b), torch.zeros(size))


def test_hostile_residues_are_refused():
    codec = Residues(3)
    payload = received(codec.encode(torch.arange(5.0)))
    payload[0].data[-1] |= 0x80
    with pytest.raises(UnexpectedTensor, match="a bit after the last number"):
        codec.decode(payload, 5)
    with pytest.raises(UnexpectedTensor):
        codec.decode(received(codec.encode(torch.arange(9.0))), 5)
    with pytest.raises(NonFiniteUpdate):
        codec.encode(torch.tensor([float("nan")]))
    with pytest.raises(SettingError, match="number of bits"):
        Residues(17)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bits": 0}, "bits is out of range"),
        ({"bits": 2, "share": 0.0}, "share is out of range"),
        ({"bits": 2, "reach": 0.0}, "reach is out of range"),
        ({"bits": 2, "reach": math.inf}, "reach is out of range"),
        ({"share": 0.5}, "share applies only to numbers that are sent in few bits"),
        ({"reach": 3.0}, "reach applies only to numbers that are sent in few bits"),
        ({"bits": 2, "pull": 0.5}, "sends residues"),
        ({"bits": 2, "weighting": "steps"}, "sends residues"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(SettingError, match=said):
        NoLoCo(**wrong)


def test_residues_must_arrive_as_they_are():
    assert NoLoCo(bits=2).requirements.exact
    assert not NoLoCo().requirements.exact
