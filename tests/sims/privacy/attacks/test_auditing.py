"""Measures of attacks, beside direct computations and mechanisms whose ε is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm

from gossipfl.privacy import gaussian_guarantee
from sims.privacy.attacks.auditing import (
    advantage,
    area_under_curve,
    epsilon_of_one_run,
    epsilon_of_rates,
    rate_of,
    true_rate_at,
)
from sims.privacy.errors import NotAccountable

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30).map(np.array)


@given(SCORES, SCORES)
@settings(max_examples=100, deadline=None)
def test_measures_equal_their_definitions(members: np.ndarray, others: np.ndarray) -> None:
    pairs = np.sign(members[:, None] - others[None, :])
    assert area_under_curve(members, others) == pytest.approx(float((pairs + 1).mean() / 2))
    best = max((members >= t).mean() - (others >= t).mean() for t in np.unique([*members, *others]))
    assert advantage(members, others) == pytest.approx(max(0.0, best))
    for rate in (0.0, 0.1, 0.5):
        allowed = [t for t in [-np.inf, *np.unique(others)] if (others > t).mean() <= rate]
        assert true_rate_at(members, others, rate).value == pytest.approx((members > min(allowed)).mean())


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.5, 0.99))
@settings(max_examples=50, deadline=None)
def test_intervals_are_those_of_clopper_and_pearson(count: int, more: int, confidence: float) -> None:
    total, tail = count + more, (1 - confidence) / 2
    found = rate_of(count, total, confidence=confidence)
    assert found.low == pytest.approx(beta.ppf(tail, count, total - count + 1) if count else 0.0, abs=1e-9)
    assert found.high == pytest.approx(beta.ppf(1 - tail, count + 1, total - count), abs=1e-9)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_what_is_proven_of_a_gaussian_mechanism_is_below_its_epsilon_and_not_far(shift: float) -> None:
    """Over many seeds: above the claim no oftener than the confidence allows, and more than nothing."""
    claim = gaussian_guarantee(shift, delta=1e-3).epsilon
    by_rates, by_one_run = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        members, others = generator.normal(shift, size=2000), generator.normal(size=2000)
        by_rates.append(epsilon_of_rates(members, others, delta=1e-3, seed=seed))
        coins = generator.random(2000) < 0.5
        scores = generator.normal(size=2000) + shift * coins
        by_one_run.append(epsilon_of_one_run(scores, coins, delta=1e-5))
    for found in (by_rates, by_one_run):
        assert sum(each > claim for each in found) <= 5  # of 40, at a confidence of 95 %
        assert np.median(found) > 0.25 * claim


def test_coins_that_were_told_are_above_what_randomised_response_allows() -> None:
    """Steinke et al.'s bound at its tightest: every sample answers for itself, truly with e^ε/(1 + e^ε)."""
    for epsilon in (0.5, 2.0):
        found = []
        for seed in range(40):
            generator = np.random.default_rng(seed)
            coins = generator.random(4000) < 0.5
            true = generator.random(4000) < 1 / (1 + math.exp(-epsilon))
            scores = np.where(coins == true, 1.0, 0.0) + 1e-6 * generator.random(4000)
            found.append(epsilon_of_one_run(scores, coins, delta=0.0))
        assert sum(each > epsilon for each in found) <= 5
        assert np.median(found) > 0.8 * epsilon


def test_delta_costs_what_the_theorem_says() -> None:
    coins = np.arange(1000) % 2 == 0
    scores = coins + 1e-6 * np.random.default_rng(0).random(1000)
    found = [epsilon_of_one_run(scores, coins, delta=delta) for delta in (0.0, 1e-6, 1e-4, 1e-2)]
    assert found == sorted(found, reverse=True)
    # All of r guesses right: r ln(1/q) = ln(1/p), with q = e^ε/(1 + e^ε), where δ is 0.
    q = (0.05 / 4) ** (1 / 1000)
    assert found[0] == pytest.approx(math.log(q / (1 - q)), rel=1e-6)
    assert found[-1] < 1


def test_nothing_is_proven_of_scores_that_tell_nothing() -> None:
    generator = np.random.default_rng(3)
    scores, coins = generator.normal(size=500), generator.random(500) < 0.5
    assert epsilon_of_rates(scores[coins], scores[~coins], delta=1e-5) == pytest.approx(0, abs=0.1)
    assert epsilon_of_one_run(scores, coins, delta=1e-5) == pytest.approx(0, abs=0.1)
    with pytest.raises(NotAccountable, match="one of each"):
        area_under_curve(scores, scores[:0])


def test_rates_at_the_best_threshold_are_those_of_the_normal() -> None:
    generator = np.random.default_rng(0)
    members, others = generator.normal(1, size=200_000), generator.normal(size=200_000)
    assert advantage(members, others) == pytest.approx(2 * norm.cdf(0.5) - 1, abs=0.01)
    found = true_rate_at(members, others, 0.01)
    assert found.low < norm.sf(norm.isf(0.01) - 1) < found.high + 0.003
