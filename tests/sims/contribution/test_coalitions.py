"""Coalitions side by side in one simulation, against a run of each."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.tasks import partition
from gossipfl.training import NodeData, Nodes
from sims.contribution.game import LearningGame
from sims.contribution.measuring import Measure
from sims.contribution.networks import CoalitionNetworks, joined_graph
from sims.contribution.shapley import every_coalition, exact
from sims.contribution.side_by_side import SideBySide, world_of
from sims.errors import InvalidScenario, NotSimulable
from sims.running import run
from sims.scenario import Scenario
from sims.world import World, build_world
from sims.world.trace_cache import Traces
from topology import graphs

_TRACES = Traces()  # traced once for all tests


def world_of_scenario(nodes: int = 5, **tables: Any) -> World:
    """The world of a small scenario."""
    return build_world(scenario(nodes, **tables), traces=_TRACES)


def scenario(nodes: int = 5, **tables: Any) -> Scenario:
    """A small scenario in double precision, so that block sizes make no difference."""
    given = {
        "seed": 3,
        "precision": "float64",
        "population": {"nodes": nodes},
        "task": {"name": "tests.sims.worlds:blobs", "partition": "quantity:0.5"},
        "topology": {"name": "ring"},
        "algorithm": {"name": "d_psgd"},
        "training": {"batch_size": 4, "learning_rate": 0.3, "momentum": 0.5},
        "stop": {"rounds": 6},
        "evaluate": {"every": 6},
    }
    return Scenario.model_validate(given | tables)


ALGORITHMS: list[dict[str, Any]] = [
    {"algorithm": {"name": "d_psgd"}},
    {
        "algorithm": {"name": "gradient_tracking"},
        "topology": {"name": "complete"},
        "training": {"batch_size": 4},
    },
    {"algorithm": {"name": "d_psgd"}, "topology": {"name": "one-peer-exponential"}},
]


@pytest.mark.parametrize("tables", ALGORITHMS)
def test_everybody_together_are_the_scenario_itself(tables: dict[str, Any]) -> None:
    made = scenario(8, **tables)
    (outcome,) = SideBySide(build_world(made, traces=_TRACES))([tuple(range(8))])
    assert torch.allclose(outcome.rows, run(made).rows, atol=1e-12)
    assert (outcome.steps == 6).all()


def test_side_by_side_equals_one_after_another() -> None:
    world = world_of_scenario()
    coalitions = [(0, 1), (0, 2, 4), (1, 2, 3, 4), (2, 3)]
    together = list(SideBySide(world)(coalitions))
    for members, found in zip(coalitions, together, strict=True):
        (alone,) = SideBySide(world)([members])
        assert found.members == members
        assert torch.allclose(found.rows, alone.rows, atol=1e-12)
    few = SideBySide(world, largest_batch=1)  # a batch for each
    for found, again in zip(together, few(coalitions), strict=True):
        assert torch.allclose(found.rows, again.rows, atol=1e-12)


def test_a_coalition_equals_a_world_with_only_its_data() -> None:
    """Independent: the task of two of five nodes, as a scenario of two nodes."""
    world = world_of_scenario()
    parts = partition(world.trainer.data.targets.numpy(), 5, "quantity:0.5", seed=3)
    data = world.trainer.data
    only = NodeData.partitioned(
        data.inputs, data.targets, [parts[1], parts[3]], numbers=np.array([1, 3], dtype=np.int64)
    )
    W, rows = 0.5, world.first_rows().expand(2, -1).contiguous()
    trainer = replace(world.trainer, data=only)
    nodes = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(6):
        nodes, _ = trainer.train(nodes, np.arange(2))
        nodes = replace(nodes, rows=W * nodes.rows + W * nodes.rows.flip(0))
    (outcome,) = SideBySide(world)([(1, 3)])
    assert torch.allclose(outcome.rows, nodes.rows, atol=1e-12)


def test_alone_is_training_on_ones_own_samples_for_as_many_steps() -> None:
    world = world_of_scenario()
    steps = np.array([3, 6, 0, 3, 1])
    rows = SideBySide(world).alone(steps)
    for node, count in enumerate(steps.tolist()):
        first = Nodes.start(world.first_rows(), optimiser_state_size=world.trainer.optimiser_state_size)
        if count:
            first, _ = world.trainer.train(first, np.array([node]), steps=count)
        assert torch.allclose(rows[node], first.rows[0], atol=1e-12)


def test_a_message_driven_coalition_keeps_to_itself() -> None:
    """Two coalitions without a common member: the models of one do not depend on the other's samples."""
    made = scenario(6, algorithm={"name": "gossip_learning"}, topology={"name": "complete"})
    world = build_world(made, traces=_TRACES)
    first, second = SideBySide(world)([(0, 1, 2), (3, 4, 5)])
    changed = world.trainer.data.inputs.clone()
    changed[world.trainer.data.indices[world.trainer.data.offsets[3] :]] += 100.0
    other = replace(world, trainer=replace(world.trainer, data=replace(world.trainer.data, inputs=changed)))
    again, different = SideBySide(other)([(0, 1, 2), (3, 4, 5)])
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(second.rows, different.rows)
    assert first.steps.sum() > 0


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 14), st.integers(0, 2**32 - 1), st.data())
def test_restricted_graphs_are_connected_and_add_no_more_links_than_needed(
    n: int, seed: int, data: st.DataObject
) -> None:
    graph = graphs.erdos_renyi(n, p=0.4, seed=seed, require_connected=False)
    members = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=2))))
    found = joined_graph(graph, members)
    assert found.is_connected
    kept = {(a, b) for a, b in graph.edges().tolist() if a in members and b in members}
    ends = {tuple(sorted((int(members[a]), int(members[b])))) for a, b in found.edges().tolist()}
    assert kept <= ends
    parts = graphs.from_edges(
        [(int(np.searchsorted(members, a)), int(np.searchsorted(members, b))) for a, b in kept],
        len(members),
        require_connected=False,
    ).components[0]
    assert len(ends) - len(kept) == parts - 1


def test_absent_nodes_are_bridged_over_the_shortest_way() -> None:
    ring = joined_graph(graphs.ring(8), np.array([0, 1, 3, 6]))
    assert ring.edges().tolist() == [[0, 1], [0, 3], [1, 2]]  # 1–3 over node 2, and 0–6 over node 7


def test_links_with_a_direction_are_not_guessed() -> None:
    graph = graphs.from_edges([(0, 1), (1, 2), (2, 0)], directed=True)
    with pytest.raises(NotSimulable, match="have a direction"):
        joined_graph(graph, np.array([0, 1]))


def test_mixing_is_made_of_blocks_and_averages() -> None:
    networks = CoalitionNetworks(scenario(8), class_counts=lambda: np.zeros((8, 1), dtype=np.int64))
    network = networks.rounds([(0, 1), (0, 2, 4, 6), (1, 2, 3, 4, 5)])
    W = network.sequence.matrix(0).toarray()
    assert np.allclose(W.sum(axis=0), 1)
    assert np.allclose(W, W.T)
    assert not W[:2, 2:].any()
    assert not W[2:6, 6:].any()


def test_nodes_of_a_repeated_world_have_their_own_samples() -> None:
    world = world_of_scenario()
    repeated = world_of(world, np.array([4, 0, 4]))
    data, own = repeated.trainer.data, world.trainer.data
    assert data.numbers.tolist() == [4, 0, 4]
    assert (data.indices[: data.offsets[1]] == own.indices[own.offsets[4] :]).all()


def test_shapley_values_of_learning_against_brute_force() -> None:
    """Every coalition in a simulation of its own, and the mean over all 24 orders."""
    world = world_of_scenario(4)
    game = LearningGame(world, metric="loss")
    found = exact(game(every_coalition(4)))
    measure, simulate = Measure(world.task, world.own_tests, "loss"), SideBySide(world)

    def value(members: tuple[int, ...]) -> float:
        if not members:
            return float(measure(world.first_rows(), np.array([0]))[0])
        if len(members) == 1:
            rows = simulate.alone(np.full(4, 6))[list(members)]
        else:
            (outcome,) = SideBySide(world)([members])
            rows = outcome.rows
        return float(measure(rows, np.array(members)).mean())

    total = np.zeros(4)
    for order in itertools.permutations(range(4)):
        for k, i in enumerate(order):
            before = tuple(sorted(order[:k]))
            total[i] += value(tuple(sorted((*before, i)))) - value(before)
    assert np.allclose(found, total / 24, atol=1e-9)


def equal_world() -> World:
    """Four nodes of which the first two have the same samples, drawn as the same number, on a complete graph."""
    world = world_of_scenario(4, topology={"name": "complete"})
    return world_of(world, np.array([0, 0, 1, 2]))


def test_participants_with_the_same_data_contribute_the_same() -> None:
    game = LearningGame(equal_world(), metric="loss")
    found = exact(game(every_coalition(4)))
    assert abs(found[0] - found[1]) < 1e-12
    assert abs(found[0] - found[2]) > 1e-6


@pytest.mark.parametrize("value", ["members", "mean_model", "everyone"])
def test_values_of_nobody_and_everybody(value: Any) -> None:
    world = world_of_scenario(4)
    game = LearningGame(world, metric="loss", value=value)
    nobody, everybody = game(np.array([[False] * 4, [True] * 4]))
    rows = run(world.scenario).rows
    measure = Measure(world.task, world.own_tests, "loss")
    first = measure(world.first_rows(), np.array([0]))[0]
    assert np.isclose(nobody, game.alone_values.mean() if value == "everyone" else first)
    wanted = rows.mean(dim=0, keepdim=True) if value == "mean_model" else rows
    assert np.isclose(everybody, measure(wanted, np.arange(len(wanted))).mean())


def test_parts_of_the_test_samples_add_up_to_the_measure() -> None:
    world = world_of_scenario(4)
    game = LearningGame(world)
    for (values, sizes), whole in zip(
        game.measure.in_parts(game.together, np.arange(4)),
        game.of_members(np.ones((1, 4), bool))[0],
        strict=True,
    ):
        assert sizes.sum() == 60
        assert np.isclose((values * sizes).sum() / sizes.sum(), whole, atol=1e-6)


def test_what_cannot_be_divided_is_refused() -> None:
    for tables, said in (
        ({"training": {"enabled": False}}, "contribute no learning"),
        ({"attack": {"name": "alie", "count": 1}, "topology": {"name": "complete"}}, "looks at everybody"),
        ({"algorithm": {"name": "fedavg"}, "topology": {"name": "complete"}}, "server"),
    ):
        with pytest.raises(NotSimulable, match=said):
            SideBySide(world_of_scenario(6, **tables))
    world = world_of_scenario()
    with pytest.raises(InvalidScenario, match="one of loss, accuracy"):
        Measure(world.task, world.own_tests, "f1")
    with pytest.raises(InvalidScenario, match="members, mean_model or everyone"):
        LearningGame(world, value="nobody")  # type: ignore[arg-type]
