"""Masked sums equal plain ones to the bit, whoever drops out up to the threshold; one more is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from gossipfl.errors import SummandsExposed, TooFewSummands
from gossipfl.secure import FixedPoint, Session, ring_sum, threshold_of
from tests.gossipfl.secure.sums import AGREEMENT, STEPS, Network, masked_sum

RING = FixedPoint(largest=8.0)


def rows_of(numbers, size=5, seed=0, bits=32):
    generator = np.random.default_rng(seed)
    ring = FixedPoint(largest=8.0, bits=bits)
    return {
        number: ring.encode(generator.normal(size=size).astype(np.float32), weight=1 / len(numbers))
        for number in numbers
    }


def plain(rows, numbers):
    return ring_sum([rows[each] for each in numbers], like=next(iter(rows.values())))


@pytest.mark.parametrize("count", [3, 4, 5, *(pytest.param(k, marks=pytest.mark.slow) for k in (6, 7, 8))])
def test_every_set_of_drop_outs_at_every_step_up_to_the_threshold(count):
    numbers = tuple(range(2, 2 + count))
    network, rows = Network(numbers), rows_of(numbers)
    most = count - threshold_of(count)
    tried = 0
    for lost in range(most + 1):
        for dropped in itertools.combinations(numbers, lost):
            for steps in itertools.product(STEPS, repeat=lost):
                drops = dict(zip(dropped, steps, strict=True))
                total, summands = masked_sum(network, rows, drops=drops)
                assert set(summands) == {n for n in numbers if drops.get(n) not in ("share", "mask")}
                assert np.array_equal(total, plain(rows, summands))
                tried += 1
    assert tried >= 1 + 4 * count


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_one_more_drop_out_is_refused_by_name_whenever_it_happens(count):
    numbers = tuple(range(1, 1 + count))
    network, rows = Network(numbers), rows_of(numbers)
    lost = count - threshold_of(count) + 1
    dropped = numbers[:lost]
    for steps in itertools.combinations_with_replacement(STEPS, lost):
        with pytest.raises(TooFewSummands) as refused:
            masked_sum(network, rows, drops=dict(zip(dropped, steps, strict=True)))
        assert f"members {', '.join(map(str, dropped))} dropped out" in str(refused.value)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_larger_neighbourhoods(data):
    count = data.draw(st.integers(6, 24))
    numbers = tuple(
        sorted(data.draw(st.lists(st.integers(1, 500), min_size=count, max_size=count, unique=True)))
    )
    bits = data.draw(st.sampled_from([32, 64]))
    network, rows = Network(numbers), rows_of(numbers, size=3, seed=count, bits=bits)
    most = count - threshold_of(count)
    dropped = data.draw(st.lists(st.sampled_from(numbers), max_size=most, unique=True))
    drops = {each: data.draw(st.sampled_from(STEPS)) for each in dropped}
    total, summands = masked_sum(network, rows, drops=drops)
    assert np.array_equal(total, plain(rows, summands))


@pytest.mark.parametrize("count", [0, 1, 2, 129])
def test_too_few_or_too_many_neighbours_are_refused(count):
    with pytest.raises(SummandsExposed, match="3 to 128"):
        Session(agreement=AGREEMENT, round=0, exchange=0, receiver=0, neighbours=tuple(range(1, 1 + count)))


def test_the_threshold_is_two_thirds_rounded_up():
    assert [threshold_of(k) for k in (3, 4, 5, 6, 10, 20, 128)] == [2, 3, 4, 4, 7, 14, 86]


def test_a_masked_row_looks_uniform():
    """χ² over the values of its bytes, of pairs of bytes at a distance, and over those of a row of zeros."""
    network = Network((1, 2, 3, 4))
    size = 200_000
    session = network.session()
    receiver = network.receiver(session)
    senders = {each: network.sender(each, session, seed=5) for each in network.numbers}
    invitation = receiver.invitation(network.numbers)
    for number, sender in senders.items():
        receiver.shared(number, sender.share(invitation))
    masked = {}
    for number, sender in senders.items():
        sender.accept(receiver.participants(number))
        row = np.zeros(size, dtype=np.uint32) if number == 1 else RING.encode(np.ones(size, dtype=np.float32))
        masked[number] = sender.masked(row)
        values = np.frombuffer(masked[number].tobytes(), dtype=np.uint8)
        assert chisquare(np.bincount(values, minlength=256)).pvalue > 1e-4
        for place in range(4):  # the highest byte tells as little as the lowest
            assert chisquare(np.bincount(values[place::4], minlength=256)).pvalue > 1e-4
        pairs = values[:-4:8].astype(np.int64) * 256 + values[4::8]
        assert chisquare(np.bincount(pairs, minlength=65536)).pvalue > 1e-4
    assert (
        chisquare(
            np.bincount(np.frombuffer((masked[1] - masked[2]).tobytes(), dtype=np.uint8), minlength=256)
        ).pvalue
        > 1e-4
    )


def test_two_rounds_have_different_masks():
    network = Network((1, 2, 3))
    rows = {each: np.zeros(1000, dtype=np.uint32) for each in network.numbers}
    seen = []
    for round_number in (7, 8):
        transcript = []
        masked_sum(
            network, rows, session=network.session(round_number), transcript=transcript, seed=1
        )  # even if both drew the same secrets
        seen.append([each for each in transcript if len(each) == 4000])
    for one, other in zip(*seen, strict=True):
        assert np.mean(np.frombuffer(one, np.uint8) == np.frombuffer(other, np.uint8)) < 0.02
