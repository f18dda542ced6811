"""Points of a sweep, and the scenario of each."""

import numpy as np
import pytest

from sims.errors import InvalidScenario, InvalidSweep
from sims.sweeping.points import points_of, scenario_at
from tests.sims.sweeping.sweeps import sweep_of

TOPOLOGIES = [{"name": "random_regular", "degree": 4, "label": "4-regular"}, {"name": "torus", "height": 3}]


def test_all_combinations_in_order():
    sweep = sweep_of(grid={"training.momentum": [0.0, 0.9], "topology": TOPOLOGIES})
    points = points_of(sweep)
    assert [point.number for point in points] == [1, 2, 3, 4]
    assert [tuple(point.columns.values()) for point in points] == [
        (0.0, "4-regular"),
        (0.0, "torus(height=3)"),
        (0.9, "4-regular"),
        (0.9, "torus(height=3)"),
    ]
    scenario = scenario_at(sweep, points[2], seed=5)
    assert scenario.training.momentum == 0.9
    assert scenario.topology.arguments == {"degree": 4}
    assert (scenario.seed, scenario.training.seed) == (5, 5)
    assert scenario.name == "training.momentum = 0.9, topology = 4-regular, seed 5"
    assert scenario.output.rows is False


def test_a_sweep_of_nothing_is_one_point():
    (point,) = points_of(sweep_of())
    assert str(point) == "point 1 (the scenario as it is)"


def test_variants_set_keys_that_go_together():
    variants = [
        {"label": "plain", "algorithm": {"name": "d_psgd"}},
        {"label": "heavy ball", "training": {"momentum": 0.9, "learning_rate": 0.03}},
    ]
    sweep = sweep_of(variant=variants, grid={"population.nodes": [9, 12]})
    points = points_of(sweep)
    assert [point.columns["variant"] for point in points] == ["plain", "heavy ball", "plain", "heavy ball"]
    training = scenario_at(sweep, points[3], seed=1).training
    assert (training.momentum, training.learning_rate, training.batch_size) == (0.9, 0.03, 4)


def test_draws_follow_their_distributions_and_do_not_depend_on_how_many_there_are():
    keys = {
        "training.learning_rate": {"distribution": "log-uniform", "low": 1e-3, "high": 1.0},
        "training.momentum": {"distribution": "uniform", "low": 0.5, "high": 0.9},
        "training.batch_size": {"distribution": "int", "low": 2, "high": 5},
        "topology": {"distribution": "choice", "values": TOPOLOGIES},
    }
    many = points_of(sweep_of(random={"draws": 400, "seed": 3, "keys": keys}))
    few = points_of(sweep_of(random={"draws": 7, "seed": 3, "keys": keys}))
    assert [p.columns for p in few] == [p.columns for p in many[:7]]
    other = points_of(sweep_of(random={"draws": 7, "seed": 4, "keys": keys}))
    assert other[0].columns != few[0].columns
    rates = np.array([point.columns["training.learning_rate"] for point in many])
    assert rates.min() >= 1e-3
    assert rates.max() <= 1.0
    for low in (1e-3, 1e-2, 1e-1):  # a third in each decade
        assert 0.25 < np.mean((rates >= low) & (rates < 10 * low)) < 0.42
    momenta = np.array([point.columns["training.momentum"] for point in many])
    assert momenta.min() >= 0.5
    assert 0.68 < momenta.mean() < 0.72
    assert {point.columns["training.batch_size"] for point in many} == {2, 3, 4, 5}
    assert {point.columns["topology"] for point in many} == {"4-regular", "torus(height=3)"}


def test_a_draw_that_comes_twice_is_one_point():
    keys = {"training.batch_size": {"distribution": "choice", "values": [2, 3]}}
    assert len(points_of(sweep_of(random={"draws": 30, "keys": keys}))) == 2


def test_columns_have_one_type():
    labels = [
        p.columns["training.clip_norm"] for p in points_of(sweep_of(grid={"training.clip_norm": [1, 0.5]}))
    ]
    assert labels == [1.0, 0.5]
    assert all(isinstance(label, float) for label in labels)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"grid": {"seed": [1, 2]}}, "seed would replace seed"),
        (
            {"grid": {"training.learning_rate": [1.0]}, "tune": {}},
            "training.learning_rate is both tuned and",
        ),
        (
            {"grid": {"topology.degree": [3, 4], "topology": TOPOLOGIES}},
            "topology would replace topology.degree",
        ),
        ({"grid": {"training.momentum": [0.1, 0.1]}}, "two values have the same label"),
        ({"variant": [{"label": "a"}, {"label": "a"}]}, "two variants have the same label"),
    ],
)
def test_contradictions(settings, complaint):
    with pytest.raises(InvalidSweep, match=complaint):
        points_of(sweep_of(**settings))


@pytest.mark.parametrize(
    ("grid", "error", "complaint"),
    [
        (
            {"training.momentums": [0.5]},
            InvalidScenario,
            r"point 1 \(training.momentums = 0.5\): .*unknown key 'momentums'. Did you mean 'momentum'",
        ),
        (
            {"training.momentum": [1.5]},
            InvalidScenario,
            r"point 1 \(training.momentum = 1.5\): .*less than 1",
        ),
        (
            {"precision.bits": [1]},
            InvalidSweep,
            r"point 1 .*descends into 'precision', which is a plain value",
        ),
        ({"training..x": [1]}, InvalidSweep, r"point 1 .*dotted"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_point(grid, error, complaint):
    sweep = sweep_of(grid=grid)
    with pytest.raises(error, match=complaint):
        scenario_at(sweep, points_of(sweep)[0], seed=1)
