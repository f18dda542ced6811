"""The search of a step size."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sims.sweeping.search import GeometricSearch


def searched(score, *, ratio=4.0, budget=7):
    """Run a search to its end; return it and its scores."""
    search = GeometricSearch(around=0.1, ratio=ratio, budget=budget)
    scores, steps = {}, []
    while wanted := search.wanted(scores):
        steps.append(wanted)
        scores |= {exponent: score(search.value(exponent)) for exponent in wanted}
    return search, scores, steps


def at_edge(best, scores):
    return best in (min(scores), max(scores))


@given(st.floats(-3, 3), st.integers(3, 20), st.floats(1.1, 10), st.floats(0.1, 10), st.floats(0.1, 10))
def test_every_search_spends_its_budget_and_comes_near_the_best(peak, budget, ratio, left, right):
    """Scores that fall on both sides of a peak, as fast as you like on either."""

    def score(value):
        distance = math.log10(value / 0.1) - peak
        return -left * -distance if distance < 0 else -right * distance

    search, scores, _ = searched(score, ratio=ratio, budget=budget)
    assert len(scores) == budget
    assert len({search.value(exponent) for exponent in scores}) == budget
    if not at_edge(search.best(scores), scores):
        tried = sorted(scores)
        place = tried.index(search.best(scores))
        assert search.value(tried[place - 1]) <= 0.1 * 10**peak * 1.001
        assert search.value(tried[place + 1]) >= 0.1 * 10**peak * 0.999


def test_the_grid_is_extended_at_its_edge_and_then_refined():
    def score(value):
        return -abs(math.log(value / 1.7))

    search, scores, steps = searched(score)
    assert steps == [[-1, 0, 1], [2], [3], [2.5, 1.5]]
    assert search.value(search.best(scores)) == 1.6
    assert not at_edge(search.best(scores), scores)


def test_the_best_inside_is_refined_twice():
    _, _, steps = searched(lambda value: -abs(math.log(value / 0.15)))
    assert steps == [[-1, 0, 1], [0.5, -0.5], [0.25, -0.25]] or steps[2] == [0.25, 0.75]


def test_a_last_trial_goes_to_the_better_side():
    _, _, steps = searched(lambda value: -abs(math.log(value / 0.15)), budget=4)
    assert steps == [[-1, 0, 1], [0.5]]


def test_divergence_is_no_best():
    search, scores, _ = searched(lambda value: -math.inf if value > 0.2 else value)
    assert search.value(search.best(scores)) <= 0.2
    assert scores[search.best(scores)] == max(s for s in scores.values() if s > -math.inf)


def test_of_equals_the_nearest_to_the_start():
    assert GeometricSearch.best({-1.0: 0.5, 0.0: 0.5, 1.0: 0.5}) == 0.0
    assert GeometricSearch.best({-1.0: 0.5, 0.0: 0.1, 1.0: 0.5}) == -1.0


@pytest.mark.parametrize("exponent", [0.0, -1.0, 0.5])
def test_values_are_short(exponent):
    search = GeometricSearch(around=0.1, ratio=4, budget=3)
    assert search.value(exponent) == pytest.approx(0.1 * 4**exponent, rel=1e-6)
    assert len(repr(search.value(exponent))) <= 8
