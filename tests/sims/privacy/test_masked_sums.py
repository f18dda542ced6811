"""Masked sums in accounts: receivers see sums, and coalitions that can take masks off see the summands."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sims import run as simulate
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.report import report_of
from sims.privacy.sources import run_of_scenario
from sims.privacy.views import worst_coalition
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network

NODES = 8
SCENARIO = """
precision = "{precision}"
[population]
nodes = 8
[task]
name = "sims.scenarios.averages:averages"
options = {{ nodes = 8, size = 3 }}
partition = "contiguous"
[topology]
{topology}
[algorithm]
name = "{algorithm}"
[training]
enabled = false
[stop]
rounds = {rounds}
{masked}
"""
FOUR = "name = 'random_regular'\ndegree = 4"


def scenario_of(
    *, drop_out=0.0, rounds=1, topology=FOUR, precision="float32", algorithm="d_psgd", masked=True
):
    section = f"[masked_sums]\nrange = 8.0\ndrop_out = {drop_out}" if masked else ""
    return parse_scenario(
        SCENARIO.format(
            topology=topology, rounds=rounds, masked=section, precision=precision, algorithm=algorithm
        )
    )


def around(scenario, node):
    return [int(other) for other in round_network(scenario).sequence.neighbours(0, node)]


@pytest.mark.parametrize("drop_out", [0.0, 0.3, 0.6])
def test_what_nodes_hold_equals_the_simulation_but_for_the_ring(drop_out):
    scenario = scenario_of(drop_out=drop_out, rounds=5)
    values = build_world(scenario).first_rows().double().numpy()
    held = run_of_scenario(scenario).final_state()[:NODES] @ values
    result = simulate(scenario, compile_when="never")
    np.testing.assert_allclose(held, result.rows.numpy(), atol=1e-5)
    assert np.abs(held - values).max() > 0.1


def test_a_receiver_sees_a_sum_and_no_summand():
    scenario = scenario_of()
    run = run_of_scenario(scenario)
    neighbours = around(scenario, 0)
    known = knowledge_of(run, [0])
    assert known.rank == 2  # its own value, and the sum
    np.testing.assert_allclose(known.shares()[neighbours], 1 / 4)
    assert run.distances_to(0)[neighbours].tolist() == [1, 1, 1, 1]
    plain = knowledge_of(run_of_scenario(scenario_of(masked=False)), [0])
    np.testing.assert_allclose(plain.shares()[neighbours], 1)


@pytest.mark.parametrize("size", range(1, 7))
def test_every_coalition_knows_what_it_does_by_hand(size):
    """Of 4 neighbours 3 are needed beside the receiver: with fewer it is left with the sum of the others."""
    scenario = scenario_of()
    run, units = run_of_scenario(scenario), np.eye(NODES)
    for coalition in list(combinations(range(NODES), size))[::3]:
        rows = [units[node] for node in coalition]
        for node in coalition:
            neighbours = around(scenario, node)
            rows.append(units[neighbours].sum(axis=0) / 5)
            if len(set(neighbours) & set(coalition)) >= 3:
                rows += list(units[neighbours])
        matrix = np.array(rows)
        expected = np.diagonal(np.linalg.pinv(matrix) @ matrix)
        np.testing.assert_allclose(knowledge_of(run, coalition).shares(), expected, atol=1e-9)


def test_holders_without_the_receiver_see_nothing_of_its_sum():
    """Stars of four: the centre of each is the receiver, and its leaves hold the shares."""
    scenario = scenario_of(topology="name = 'complete'")
    run = run_of_scenario(scenario)
    stage = run.stages[1]
    only = np.flatnonzero(stage.receivers == 0)
    assert stage.seen_by([1, 2, 3, 4, 5, 6, 7])[:, :8].toarray().shape[0] == len(stage.receivers) - len(only)
    assert stage.seen_by([0]).shape[0] == 1
    assert stage.seen_by([0, 1, 2, 3, 4]).shape[0] == 5  # 5 of 7 are needed beside each of them
    assert stage.seen_by(range(6)).shape[0] == 6 * 8


def test_a_failed_sum_shows_nothing_and_its_rows_only_to_those_who_hold_enough():
    scenario = scenario_of(drop_out=0.9)
    run = run_of_scenario(scenario)
    world = build_world(scenario)
    simulation = simulation_of(scenario, world, threads=1, compile_when="never", device="cpu")
    simulation.advance(1, between=lambda: False)
    failed = [node for node in range(NODES) if knowledge_of(run, [node]).rank == 1]
    assert len(failed) == simulation.counts()["failed_sums"] > 0
    coalition = worst_coalition(run, 5)
    assert coalition.reconstructed <= 3


def test_all_rows_are_seen_by_who_takes_all_masks_off():
    scenario = scenario_of(rounds=2)
    run = run_of_scenario(scenario)
    told = knowledge_of(run.overheard(), [NODES]).shares()
    np.testing.assert_allclose(told, 1)
    report = report_of(run, noise=1.0, delta=1e-5)
    assert all(each.published is None for each in report.by_distance)


def test_two_neighbours_are_too_few():
    with pytest.raises(NotAccountable, match="masked sum cannot be had"):
        run_of_scenario(scenario_of(topology="name = 'ring'"))
    with pytest.raises(NotAccountable, match="sends mass"):
        run_of_scenario(scenario_of(algorithm="sgp"))
