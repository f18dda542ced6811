"""Planted participants, and whether they are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.samples import Weighted
from gossipfl.training import NodeData, Trainer, TrainingSettings
from sims.contribution.cross_prediction import LabelNoise, label_noise
from sims.contribution.estimation import flags_of, noise_in
from sims.contribution.flags import Flags, Found, compared, flagged, likeness, updates_from
from sims.contribution.game import LearningGame
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
    updates = updates_from(world.trainer, world.first_rows()[0])
    norms = np.linalg.norm(updates, axis=1)
    assert (norms[list(planted.free_riders)] == 0).all()
    assert (np.delete(norms, planted.free_riders) > 0).all()


def a_task() -> Task:
    def no_data() -> Dataset:
        raise AssertionError

    return Task(name="linear", model=lambda: torch.nn.Linear(8, 6), data=no_data)


def found_in(seed: int, partition: str) -> dict[str, Found]:
    overrides = [f"seed={seed}", f"task.partition={partition}"]
    world = build_world(load_scenario("planted-digits", overrides=overrides))
    game = LearningGame(world, metric="loss")
    return compared(flags_of(game, noise_in(game)), planted_in(world.scenario))


def test_planted_nodes_are_found() -> None:
    assert found_in(20, "iid") == {
        kind: Found(planted=2, flagged=2, both=2) for kind in ("free riders", "duplicates", "wrong labels")
    }


@pytest.mark.slow
@pytest.mark.parametrize("partition", ["iid", "dirichlet:1", "shards:4", "dirichlet:0.3"])
def test_planted_nodes_are_found_however_data_differ(partition: str) -> None:
    each = [found_in(seed, partition) for seed in range(40, 46)]
    for kind in ("free riders", "duplicates", "wrong labels"):
        total = sum((one[kind] for one in each[1:]), start=each[0][kind])
        assert (total.precision, total.recall) == (1.0, 1.0)


def test_flags_follow_their_definitions() -> None:
    generator = np.random.default_rng(0)
    updates = generator.normal(size=(8, 50))
    updates[1] = 2 * updates[0] + 0.01 * generator.normal(size=50)
    updates[2] *= 0.01
    share = np.array([0.0, 0.0, 0.9, 0.9, 0.2, 0.1, math.nan, 0.5])
    p_value = np.array([0.5, 0.5, 0.0, 0.0, 1e-3, 0.0, 1.0, 2e-3])
    found = flagged(updates, updates, LabelNoise(share=share, p_value=p_value))
    assert found.free_riders == (2,)
    assert found.duplicates == ((0, 1),)
    assert found.noisy == (3, 4)  # 2 is a free rider, 5 has few, and 7 may be chance: 0.002 > 0.01 / 8
    assert "node 1" in found.of(0)[0]
    assert "node 0" in found.of(1)[0]
    assert "wrong labels" in found.of(3)[0]
    assert not found.of(5)
    assert flagged(updates, updates, LabelNoise.unknown(8)).noisy == ()


def test_unlike_data_are_no_wrong_labels() -> None:
    """Classes that only one has, and inputs unlike the others', are not mistaken for wrong labels."""
    generator = np.random.default_rng(3)
    centres = 4 * np.eye(6, 8)
    parts, inputs, targets = [], [], []
    for node in range(6):
        own = generator.integers(0, 5, 60) if node else np.full(60, 5)
        moved = centres[own] + generator.normal(size=(60, 8)) + (node == 1) * 6 * np.eye(8)[7]
        inputs.append(moved)
        targets.append((own + generator.integers(1, 5, 60)) % 5 * (node == 2) + own * (node != 2))
        parts.append(np.arange(60 * node, 60 * node + 60))
    task = a_task()
    pool = (torch.tensor(np.concatenate(inputs)).float(), torch.tensor(np.concatenate(targets)))
    trainer = Trainer.of(task, NodeData.partitioned(*pool, parts), TrainingSettings(learning_rate=0.1))
    found = label_noise(task, trainer, task.initial_row()[None], steps=60)
    assert found.looks_wrong(share=0.15).tolist() == [False, False, True, False, False, False]
    assert math.isnan(found.share[0])  # nobody else has its class
    assert found.p_value[0] == 1


@pytest.mark.parametrize("nodes", [1, 2])
def test_of_one_or_two_nothing_is_known(nodes: int) -> None:
    task = a_task()
    parts = np.array_split(np.arange(30), nodes)
    data = NodeData.partitioned(torch.randn(30, 8), torch.arange(30) % 6, parts)
    trainer = Trainer.of(task, data, TrainingSettings(learning_rate=0.1))
    found = label_noise(task, trainer, task.initial_row()[None], steps=1)
    assert not found.looks_wrong(share=0.15).any()


def test_small_models_have_gradients_that_are_alike_and_no_duplicates() -> None:
    """All pairs are above 0.99, as of a model of few parameters; the same samples are much closer still."""
    generator = np.random.default_rng(1)
    gradients = 1.0 + 0.03 * generator.normal(size=(6, 12))
    assert likeness(gradients).min() > 0.99
    assert flagged(gradients, gradients, LabelNoise.unknown(6)).duplicates == ()
    gradients[4] = gradients[2] * (1 + 1e-7)
    assert flagged(gradients, gradients, LabelNoise.unknown(6)).duplicates == ((2, 4),)
    same = np.ones((4, 12))
    assert len(flagged(same, same, LabelNoise.unknown(4)).duplicates) == 6
    two = gradients[:2]
    assert flagged(two, two, LabelNoise.unknown(2)).duplicates == ()


def test_who_is_worse_off_is_told_who_else_stands_out() -> None:
    flags = Flags(free_riders=(3, 8), duplicates=(), noisy=(1,))
    assert flags.among_others(0) == [
        "it averages with free riders: node 3, 8",
        "it averages with wrong labels: node 1",
    ]
    assert flags.among_others(1) == ["it averages with free riders: node 3, 8"]


def test_cosines() -> None:
    assert likeness(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]])).round(6).tolist() == [
        [1, 0, 0.707107, 0],
        [0, 1, 0.707107, 0],
        [0.707107, 0.707107, 1, 0],
        [0, 0, 0, 0],
    ]


def test_precision_and_recall() -> None:
    flags = flagged(np.eye(8), np.eye(8), LabelNoise.unknown(8))
    found = compared(flags, Planted(free_riders=(1,), duplicates={}, noisy=()))["free riders"]
    assert (found.planted, found.flagged, found.recall) == (1, 0, 0.0)
    assert math.isnan(found.precision)
    assert (found + Found(planted=1, flagged=3, both=1)).precision == pytest.approx(1 / 3)


def test_too_many_planted_nodes_are_refused() -> None:
    with pytest.raises(InvalidScenario, match="at least 2 of 20"):
        build_world(load_scenario("planted-digits", overrides=["planted.noisy=16"]))
    with pytest.raises(InvalidScenario, match="at least 9 of 20"):
        build_world(load_scenario("planted-digits", overrides=["planted.duplicates=9"]))
