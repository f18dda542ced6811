"""Measures against values computed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sims.analysis.distances import (
    pairwise_distances,
    sampled,
    spectral_order,
)
from sims.analysis.measures.targets import common_target, cost_to_target, costs_of_targets, crossing
from sims.metrics.fairness import fairness, gini, jain_index
from tests.sims.analysis.made import made
from topology.spectrum import consensus_distance

values = st.lists(st.floats(0.01, 100), min_size=1, max_size=30).map(np.array)


def test_fairness_of_known_values():
    assert gini(np.array([1.0, 1.0, 1.0, 1.0])) == 0
    assert gini(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx(3 / 4)
    assert gini(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 9)  # Σᵢⱼ|xᵢ−xⱼ| = 8, over 2·9·2
    assert jain_index(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx(1 / 4)
    assert jain_index(np.array([1.0, 2.0, 3.0])) == pytest.approx(36 / 42)
    assert np.isnan(gini(np.zeros(3)))
    assert np.isnan(jain_index(np.zeros(3)))


@given(values, st.floats(0.1, 10))
def test_fairness_does_not_depend_on_the_unit_and_keeps_its_bounds(x, unit):
    assert gini(unit * x) == pytest.approx(gini(x), abs=1e-9)
    assert jain_index(unit * x) == pytest.approx(jain_index(x))
    assert -1e-12 <= gini(x) <= (len(x) - 1) / len(x) + 1e-12
    assert 1 / len(x) - 1e-12 <= jain_index(x) <= 1 + 1e-12
    pairs = np.abs(x[:, None] - x[None, :]).sum() / (2 * len(x) ** 2 * x.mean())
    assert gini(x) == pytest.approx(pairs, abs=1e-9)


def test_worst_and_best_tenth_follow_the_direction_of_the_metric():
    x = np.arange(1.0, 21.0)
    assert fairness(x).worst_tenth == 1.5
    assert fairness(x).best_tenth == 19.5
    assert fairness(x, lower_is_better=True).worst_tenth == 19.5
    assert fairness(x).standard_deviation == pytest.approx(np.sqrt((20**2 - 1) / 12))


def test_crossing_lies_on_the_line_between_measurements():
    cost, curve = np.array([0.0, 10.0, 20.0, 30.0]), np.array([0.1, 0.5, 0.9, 0.95])
    assert crossing(cost, curve, 0.7) == pytest.approx(15.0)
    assert crossing(cost, curve, 0.5) == pytest.approx(10.0)
    assert crossing(cost, curve, 0.05) == 0.0
    assert np.isnan(crossing(cost, curve, 0.96))
    assert crossing(cost, 1 - curve, 0.3, lower_is_better=True) == pytest.approx(15.0)
    assert crossing(cost, np.array([0.1, np.nan, 0.9, np.nan]), 0.5) == pytest.approx(10.0)


def test_a_curve_that_falls_back_counts_from_the_first_time():
    assert crossing(np.arange(4.0), np.array([0.0, 0.8, 0.2, 0.9]), 0.8) == 1.0


def test_cost_of_a_target_in_every_unit():
    run = made([0.0, 0.2, 0.4, 0.6, 0.8], period=2.0)
    assert cost_to_target(run, "round", metric="accuracy", target=0.5) == pytest.approx(2.5)
    assert cost_to_target(run, "seconds", metric="accuracy", target=0.5) == pytest.approx(5.0)
    assert cost_to_target(run, "bytes", metric="accuracy", target=0.5) == pytest.approx(2500.0)
    assert cost_to_target(run, "messages", metric="accuracy", target=0.5) == pytest.approx(25.0)
    worst = cost_to_target(run, "round", metric="accuracy", target=0.5, statistic="worst")
    assert worst == pytest.approx(2.55)  # the worst node is 0.01 behind
    assert cost_to_target(run, "round", metric="loss", target=0.5) == pytest.approx(2.5)
    curve = costs_of_targets(run, "round", np.array([0.2, 0.5, 0.9]), metric="accuracy")
    np.testing.assert_allclose(curve, [1.0, 2.5, np.nan])


def test_common_target_is_what_all_reach_and_none_begins_with():
    slow, quick = made([0.1, 0.5, 0.72]), made([0.1, 0.6, 0.9])
    assert common_target([slow, quick], "accuracy") == pytest.approx(0.7)
    assert common_target([slow, made([0.75, 0.8])], "accuracy") is None
    assert common_target([slow, quick], "loss") == pytest.approx(0.28)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).standard_normal((7, 100)).astype(np.float32)


def test_pairwise_distances_are_euclidean_and_hold_the_consensus_distance(rows):
    found = pairwise_distances(rows, 100)
    expected = torch.cdist(torch.from_numpy(rows).double(), torch.from_numpy(rows).double()).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found**2).mean() == pytest.approx(2 * consensus_distance(rows))
    np.testing.assert_allclose(pairwise_distances(rows, 10), pairwise_distances(rows[:, :10], 10))


@pytest.mark.parametrize("seed", range(4))
def test_spectral_order_finds_a_line_that_was_shuffled(seed):
    along = np.arange(20.0) + 0.2 * np.random.default_rng(seed).random(20)
    shuffled = np.random.default_rng(seed).permutation(20)
    distances = np.abs(along[shuffled][:, None] - along[shuffled][None, :])
    found = shuffled[spectral_order(distances)]
    assert found.tolist() in (list(range(20)), list(range(19, -1, -1)))


def test_spectral_order_of_models_that_are_all_alike():
    assert spectral_order(np.zeros((5, 5))).tolist() == [0, 1, 2, 3, 4]


def test_sampled_nodes_are_spread_and_unique():
    assert sampled(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert sampled(1000, 3).tolist() == [0, 500, 999]
