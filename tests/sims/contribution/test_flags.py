"""Planted participants, and whether they are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gossipfl.tasks.samples import Weighted
from sims.contribution.estimation import flags_of
from sims.contribution.flags import Found, compared, flagged, likeness, updates_from
from sims.contribution.game import LearningGame
from sims.contribution.shapley import leave_one_out
from sims.errors import InvalidScenario
from sims.scenario import load_scenario
from sims.world import build_world
from sims.world.planted import Planted, planted_in


def test_planted_nodes_have_what_they_should() -> None:
    scenario = load_scenario("planted-digits", overrides=["planted.noise=0.25"])
    planted, world = planted_in(scenario), build_world(scenario)
    plain = build_world(scenario.model_copy(update={"planted": None})).trainer.data
    data = world.trainer.data
    assert isinstance(data.targets, Weighted)
    everyone = {*planted.free_riders, *planted.duplicates, *planted.noisy}
    assert len(everyone) == 6
    assert not everyone & set(planted.duplicates.values())

    def samples(of: object, node: int) -> tuple[torch.Tensor, torch.Tensor]:
        own = of.indices[of.offsets[node] : of.offsets[node + 1]]  # type: ignore[attr-defined]
        return of.at(own)  # type: ignore[attr-defined, no-any-return]

    for node in range(20):
        original = planted.duplicates.get(node, node)
        (inputs, weighted), (before, labels) = samples(data, node), samples(plain, original)
        assert torch.equal(inputs, before)
        assert isinstance(weighted, Weighted)
        wrong = float((weighted.targets != labels).double().mean())
        assert wrong == pytest.approx(0.25 if node in planted.noisy else 0, abs=0.01)
        assert weighted.weights.unique().tolist() == [0.0 if node in planted.free_riders else 1.0]
    updates = updates_from(world, world.first_rows()[0])
    norms = np.linalg.norm(updates, axis=1)
    assert (norms[list(planted.free_riders)] == 0).all()
    assert (np.delete(norms, planted.free_riders) > 0).all()


@pytest.mark.parametrize("seed", [20, 21])
def test_planted_nodes_are_found(seed: int) -> None:
    world = build_world(load_scenario("planted-digits", overrides=[f"seed={seed}"]))
    game = LearningGame(world, metric="loss")
    found = compared(flags_of(game, [leave_one_out(game, game.n)]), planted_in(world.scenario))
    assert found == {
        kind: Found(planted=2, flagged=2, both=2) for kind in ("free riders", "duplicates", "wrong labels")
    }


def test_flags_follow_their_definitions() -> None:
    generator = np.random.default_rng(0)
    updates = generator.normal(size=(8, 50))
    updates[1] = 2 * updates[0] + 0.01 * generator.normal(size=50)
    updates[2] *= 0.01
    contributions = np.array([1.0, 1.1, -9.0, 0.9, -9.0, 1.0, 1.05, -9.0])
    noise = np.array([0.0, 0.0, 0.9, 0.9, 0.9, 0.0, math.nan, 0.05])
    found = flagged(updates, [contributions], noise)
    assert found.free_riders == (2,)
    assert found.duplicates == ((0, 1),)
    assert found.noisy == (4,)
    assert "node 1" in found.of(0)[0]
    assert "node 0" in found.of(1)[0]
    assert not found.of(3)
    assert flagged(updates, [contributions], np.full(8, math.nan)).noisy == (4, 7)
    assert flagged(updates[:5], [contributions[:5]], noise[:5]).noisy == ()  # too few for a median


def test_cosines() -> None:
    assert likeness(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]])).round(6).tolist() == [
        [1, 0, 0.707107, 0],
        [0, 1, 0.707107, 0],
        [0.707107, 0.707107, 1, 0],
        [0, 0, 0, 0],
    ]


def test_precision_and_recall() -> None:
    flags = flagged(np.eye(8), [np.zeros(8)], np.full(8, math.nan))
    found = compared(flags, Planted(free_riders=(1,), duplicates={}, noisy=()))["free riders"]
    assert (found.planted, found.flagged, found.recall) == (1, 0, 0.0)
    assert math.isnan(found.precision)
    assert (found + Found(planted=1, flagged=3, both=1)).precision == pytest.approx(1 / 3)


def test_too_many_planted_nodes_are_refused() -> None:
    with pytest.raises(InvalidScenario, match="at least 2 of 20"):
        build_world(load_scenario("planted-digits", overrides=["planted.noisy=16"]))
    with pytest.raises(InvalidScenario, match="at least 9 of 20"):
        build_world(load_scenario("planted-digits", overrides=["planted.duplicates=9"]))
