"""Shares of the merges: nobody dominates by pushing often, and nobody who is merely faster is shut out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms.gate.shares import Shares


def merged(shares, rates, *, seconds, began=0.0, seed=0):
    """How much of each sender is merged when each pushes at random times at its rate."""
    generator = np.random.default_rng(seed)
    arrivals = sorted(
        (began + at, name)
        for name, rate in rates.items()
        for at in generator.uniform(0, seconds, size=generator.poisson(rate * seconds))
    )
    parts = {name: [] for name in rates}
    for at, name in arrivals:
        parts[name].append(shares.take(name, now=at))
    return parts


@pytest.mark.parametrize("haste", [10, 100])
def test_nobody_gets_more_than_a_multiple_of_its_fair_share_by_pushing_often(haste):
    honest = {f"honest {number}": 1.0 for number in range(11)}
    parts = merged(Shares(fair_shares=2.0, size=64), {**honest, "liar": haste}, seconds=300)
    late = {name: sum(each[len(each) // 4 :]) for name, each in parts.items()}
    bound = 2 / 12 + haste / 16 / (11 + haste / 16)  # its limit, or the smallest part of each push
    assert 0.1 < late["liar"] / sum(late.values()) < bound
    assert all(part == 1 for name in honest for part in parts[name])


def test_who_is_a_hundred_times_faster_than_all_others_is_merged_all_the_same():
    rates = {"fast": 10.0, **{f"slow {number}": 0.1 for number in range(7)}}
    parts = merged(Shares(fair_shares=4.0, size=64), rates, seconds=600)
    assert all(part == 1 for name in rates if name != "fast" for part in parts[name])
    assert sum(parts["fast"]) > 600 / 2  # still most of the merges


def test_the_last_that_is_left_is_soon_merged_in_full_again():
    shares = Shares(fair_shares=4.0, size=64)
    rates = {f"peer {number}": 1.0 for number in range(8)}
    merged(shares, rates, seconds=300)
    parts = merged(shares, {"peer 0": 2.0}, seconds=120, began=300)["peer 0"]
    assert parts[-100:] == [1.0] * 100


def test_identities_that_are_rarely_heard_take_nothing_from_the_others():
    shares = Shares(fair_shares=4.0, size=256)
    crowd = {f"stranger {number}": 0.02 for number in range(100)}
    honest = {f"peer {number}": 2.0 for number in range(5)}
    parts = merged(shares, {**honest, **crowd}, seconds=300)
    assert np.mean([part for name in honest for part in parts[name]]) > 0.9


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), max_size=200))
def test_a_part_is_between_a_sixteenth_and_all(arrivals):
    shares, now = Shares(fair_shares=1.5, size=4), 0.0
    for sender, gap in arrivals:
        now += gap
        assert 1 / 16 <= shares.take(str(sender), now=now) <= 1
