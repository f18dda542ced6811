"""Goodput, compared with the shares of steps in the mean of a plain simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from sims.compiler.timeline.conditions import conditions_of
from sims.fleet import goodput
from sims.fleet.goodput import weights_in_the_mean
from sims.privacy.events import EventRun
from sims.scenario import load_scenario
from sims.world import build_world


def of(*overrides: str):
    tables = {
        "population": {"nodes": 12},
        "algorithm": {"name": "gossip_learning"},
        "task": {"name": "digits"},
        "network": {"period": 3600.0, "loss": 0.1, "choose": "online"},
        "training": {"step_seconds": 5.0},
        "churn": {"process": {"kind": "charging", "zones": [-5.0, 3.0]}},
        "stop": {"rounds": 72},
    }
    return build_world(load_scenario(tables, overrides=overrides))


def test_weights_are_those_of_a_case_by_hand() -> None:
    run = EventRun(2)
    run.change(0, own=1.0, entering=[1.0])  # a step of 0 …
    sent = run.send(0)
    run.change(0, own=1.0, entering=[1.0])  # … and one that nobody hears of
    run.receive(1, sent)
    run.change(1, own=0.25, others={sent: 0.75}, entering=[1.0])
    run.forget(sent)
    lost = run.send(1)
    run.change(0, own=0.0)  # 0 begins anew, and a message is still on its way
    weights = weights_in_the_mean(run.finished())
    assert weights.tolist() == [0.75, 0.0, 1.0]
    assert lost >= 0


@pytest.mark.parametrize("kind", ["whole", "partitioned", "subsampled"])
def test_goodput_equals_a_simulation_with_one_coordinate_a_step(kind: str) -> None:
    """Each step adds one in a coordinate of its own; merges are those of the timeline, one event at a time."""
    from sims.compiler.operations import EMIT
    from sims.compiler.timeline import Timeline, ticks
    from sims.world.networks import neighbour_lists

    world = of(f"algorithm.sharing={{kind='{kind}', parts=3}}" if kind != "whole" else "seed=1")
    scenario, sharing = world.scenario, world.message_algorithm.behaviour.sharing
    indptr, indices = neighbour_lists(scenario, class_counts=world.class_counts)
    timeline = Timeline(
        conditions_of(scenario, indptr=indptr, indices=indices, message_bytes=world.message_bytes)
    )
    (window,) = timeline.windows(ticks(72 * 3600.0))
    steps = int((window.kind != EMIT).sum())
    size = world.layout.shared_size
    numbers = [0] if kind == "whole" else np.linspace(0, size - 1, 4).astype(int).tolist()
    expected, owners = np.zeros((len(numbers), steps)), [0] * steps
    for line, number in enumerate(numbers):
        rows, ages = np.zeros((12, steps)), np.zeros(12)
        sent: dict[int, tuple[np.ndarray, float]] = {}
        step = 0
        for place in range(len(window)):
            node = window.node[place]
            if window.kind[place] == EMIT:
                sent[place] = rows[node].copy(), ages[node]
                continue
            row, age = sent[int(window.ref[place])]
            total = ages[node] + age
            if sharing.chosen(torch.tensor([int(window.part[place])]), size)[0, number]:
                share = 0.5 if total == 0 else age / total
                rows[node] = (1 - share) * rows[node] + share * row
                ages[node] = max(ages[node], age)
            elif kind == "subsampled":
                ages[node] = max(ages[node], age)
            ages[node] += 1
            rows[node, step] += 1.0
            owners[step] = node
            step += 1
        expected[line] = rows.sum(axis=0)
    found = goodput(world)
    assert steps > 50
    assert np.allclose(found.weights, expected, atol=1e-12)
    assert found.owners.tolist() == owners
    assert found.share == pytest.approx(np.minimum(expected, 1).mean())
    assert found.kept == pytest.approx((expected >= 0.5).mean())
    assert found.of_nodes(np.arange(12) == owners[0]) == pytest.approx(
        np.minimum(expected[:, np.array(owners) == owners[0]], 1).mean()
    )


def test_without_a_network_every_step_counts_fully() -> None:
    stay = csr_array(np.eye(3))
    from sims.privacy.linear_run import LinearRun, Stage

    none = np.zeros(0, dtype=np.int64)
    start = Stage(
        transition=stay, observed=csr_array((0, 3)), senders=none, receivers=none, values=np.arange(3)
    )
    assert weights_in_the_mean(LinearRun(nodes=3, owners=np.arange(3), stages=[start])).tolist() == [1, 1, 1]


@pytest.mark.parametrize("step_size", [0.01, 1.0])
def test_goodput_does_not_depend_on_how_long_steps_are(step_size: float) -> None:
    assert (
        goodput(of(f"training.learning_rate={step_size}", "training.momentum=0.5")).share
        == goodput(of()).share
    )
