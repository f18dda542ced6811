"""Shapley values of games whose values are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sims.contribution.shapley import Masks, every_coalition, exact, leave_one_out, sampled
from sims.errors import InvalidScenario

Floats = NDArray[np.float64]


class Table:
    """A game by its table of values, in the order of `every_coalition`."""

    def __init__(self, values: Floats) -> None:
        self.values, self.asked = values, 0

    def __call__(self, masks: Masks) -> Floats:
        self.asked += len(masks)
        return self.values[(masks << np.arange(masks.shape[1])).sum(axis=1)]


def over_all_orders(values: Floats, n: int) -> Floats:
    """The definition: the mean over all n! orders of what each adds to those before it."""
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        code = 0
        for i in order:
            total[i] += values[code | 1 << i] - values[code]
            code |= 1 << i
    return total / math.factorial(n)


games = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.floats(-10, 10), min_size=2**n, max_size=2**n).map(np.array)
)


@settings(deadline=None, max_examples=50)
@given(games)
def test_exact_values_are_those_over_all_orders_and_share_out_everything(values: Floats) -> None:
    n = len(values).bit_length() - 1
    found = exact(values)
    assert np.allclose(found, over_all_orders(values, n), atol=1e-9)
    assert math.isclose(found.sum(), values[-1] - values[0], abs_tol=1e-9)


@settings(deadline=None, max_examples=50)
@given(games)
def test_who_adds_nothing_gets_nothing_and_equals_get_the_same(values: Floats) -> None:
    """A dummy and a twin of the first participant are added to a random game."""
    n = len(values).bit_length() - 1
    masks = every_coalition(n + 2)
    merged = masks[:, :n].copy()
    merged[:, 0] |= masks[:, n]  # the twin can stand for the first participant, and adds nothing to it
    found = exact(Table(values)(merged))
    assert abs(found[n + 1]) < 1e-9
    assert math.isclose(found[0], found[n], abs_tol=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(-3, 3))
def test_values_of_a_sum_of_games_are_sums_of_values(n: int, seed: int, a: float, b: float) -> None:
    """Additivity, of exact values and, with the same permutations, of sampled ones."""
    first, second = np.random.default_rng(seed).normal(size=(2, 2**n))
    both = a * first + b * second
    assert np.allclose(exact(both), a * exact(first) + b * exact(second), atol=1e-9)
    of_each = [sampled(Table(values), n, permutations=4, seed=1).values for values in (both, first, second)]
    assert np.allclose(of_each[0], a * of_each[1] + b * of_each[2], atol=1e-9)


def test_several_games_are_solved_at_once() -> None:
    values = np.random.default_rng(0).normal(size=(16, 3))
    together = exact(values)
    assert together.shape == (4, 3)
    assert np.allclose(together[:, 1], exact(values[:, 1]))


def test_leave_one_out() -> None:
    values = np.random.default_rng(0).normal(size=8)
    assert np.allclose(leave_one_out(Table(values), 3), [values[7] - values[7 ^ 1 << i] for i in range(3)])


def test_intervals_of_sampled_values_cover_the_exact_ones() -> None:
    """At 95 %, over 200 random games of 5: between 93 and 97.5 % of 1,000 intervals (three standard errors)."""
    covered = []
    for seed in range(200):
        values = np.random.default_rng(seed).normal(size=32).cumsum()
        found = sampled(Table(values), 5, permutations=24, seed=seed)
        truth = exact(values)
        covered.append((found.low <= truth) & (truth <= found.high))
        assert math.isclose(found.values.sum(), values[-1] - values[0], abs_tol=1e-9)
    assert 0.93 < np.mean(covered) < 0.975


def test_pairs_of_opposite_orders_solve_games_of_pairs_exactly() -> None:
    """Antithetic: a pair of participants is worth 1, and each order and its reverse share that out alike."""
    masks = every_coalition(6)
    sizes = masks.sum(axis=1)
    values = sizes * (sizes - 1) / 2.0
    found = sampled(Table(values), 6, permutations=4, seed=3)
    assert np.allclose(found.values, exact(values))
    assert np.allclose(found.high, found.low)


def test_truncation_looks_at_fewer_coalitions_and_still_shares_out_everything() -> None:
    masks = every_coalition(8)
    values = 1 - 0.2 ** masks.sum(axis=1).astype(float)
    whole, cut = Table(values), Table(values)
    full = sampled(whole, 8, permutations=40, seed=0)
    truncated = sampled(cut, 8, permutations=40, seed=0, truncation=0.01)
    assert cut.asked < 0.5 * whole.asked
    assert truncated.coalitions < full.coalitions
    assert math.isclose(truncated.values.sum(), values[-1] - values[0], abs_tol=1e-9)
    assert np.abs(truncated.values - exact(values)).max() < 0.1
    assert np.allclose(sampled(Table(values), 8, permutations=40, seed=0, truncation=0.0).values, full.values)


def test_refusals_say_what_is_expected() -> None:
    with pytest.raises(InvalidScenario, match="at most 12"):
        every_coalition(13)
    for wrong in (2, 5):
        with pytest.raises(InvalidScenario, match="an even number, at least 4"):
            sampled(Table(np.zeros(4)), 2, permutations=wrong, seed=0)
