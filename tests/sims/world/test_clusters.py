"""Nodes of clusters train, and are measured, on what their own cluster sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gossipfl.errors import InvalidPartition
from gossipfl.tasks import find_task
from sims.metrics.evaluation import Evaluator
from sims.scenario import Scenario
from sims.world import build_world


def scenario(*, nodes: int = 7, **task: object) -> Scenario:
    return Scenario.model_validate(
        {
            "population": {"nodes": nodes},
            "algorithm": {"name": "d_psgd"},
            "task": {"name": "digits", **task},
            "evaluate": {"samples": 40},
        }
    )


@pytest.mark.parametrize("clusters", ["rotation:4", "labels:3"])
def test_a_node_has_what_a_peer_of_its_number_has(clusters: str) -> None:
    data = build_world(scenario(clusters=clusters, partition="shards:2")).trainer.data
    for index in range(7):
        options = {"peers": 7, "index": index, "partition": "shards:2", "clusters": clusters}
        own = find_task("digits", options).dataset()
        inputs, targets = data.at(data.indices[data.offsets[index] : data.offsets[index + 1]])
        assert inputs.equal(own.train_inputs)
        assert targets.equal(own.train_targets)


@pytest.mark.parametrize("measured", [None, 5])
def test_every_model_is_measured_on_its_own_clusters_test_samples(measured: int | None) -> None:
    asked = scenario(clusters="rotation:4")
    asked = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"nodes": measured})})
    world = build_world(asked)
    evaluator = Evaluator(world, expected_rows=0, compile_when="never")
    rows = torch.randn(
        len(evaluator.nodes), world.layout.size, generator=torch.Generator().manual_seed(3)
    ).to(world.dtype)
    found = evaluator(rows)
    evaluator.close()
    for place, node in enumerate(evaluator.nodes.tolist()):
        options = {"peers": 7, "index": node, "clusters": "rotation:4"}
        own = find_task("digits", options).dataset()
        alone = world.task.evaluate(rows[place][None], own.test_inputs[:40], own.test_targets[:40])
        assert found["loss"][place] == pytest.approx(float(alone["loss"][0]), rel=1e-5)
        assert found["accuracy"][place] == pytest.approx(float(alone["accuracy"][0]))


def test_samples_drawn_with_replacement_are_seen_by_clusters_too() -> None:
    drawn = build_world(scenario(clusters="labels:2", samples_per_node=50)).trainer.data
    plain = build_world(scenario(samples_per_node=50)).trainer.data
    shift = np.repeat(np.arange(7) % 2 * 5, 50)
    assert np.array_equal(
        drawn.targets[drawn.indices].numpy(), (plain.targets[plain.indices].numpy() + shift) % 10
    )


def test_unknown_clusters_are_named_with_their_key() -> None:
    with pytest.raises(ValueError, match=r"clusters"):
        scenario(clusters="rotation:5")
    with pytest.raises(InvalidPartition, match="square images"):
        build_world(
            Scenario.model_validate(
                {
                    "population": {"nodes": 4},
                    "algorithm": {"name": "d_psgd"},
                    "task": {
                        "name": "sims.scenarios.averages:averages",
                        "options": {"nodes": 4, "size": 5},
                        "partition": "contiguous",
                        "clusters": "rotation:4",
                    },
                }
            )
        )
