"""Real peers that send summaries first: rows go to those alone who ask for them, and bytes are saved."""

from dataclasses import replace

import pytest
import torch

from gossipfl.algorithms import NeighbourRows, Preview
from gossipfl.attacks import SignFlip
from gossipfl.errors import InvalidAlgorithm
from gossipfl.rounds.member_rows import neighbourhood_of
from sims.scenario import parse_scenario
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import records_of
from tests.integration.test_hostile_rounds import peers_with_hostile
from tests.integration.test_hostile_rounds import simulated as simulated_lies
from tests.integration.test_rounds import (
    SCENARIO,
    assert_replayed,
    digits_peers,
    engine_after,
    one_comes_late,
    run_all,
)

NODES, ROUNDS, WIDTH = 5, 6, 40


def simulated(algorithm, topology, radius):
    """Rows of all nodes and bytes of all rounds."""
    width = f"width = {WIDTH}" if algorithm == "sketchguard" else ""
    scenario = parse_scenario(
        SCENARIO.format(
            nodes=NODES,
            topology=f'name = "{topology}"',
            algorithm=f'name = "{algorithm}"\nradius = {radius}\n{width}',
            training="",
        )
    )
    engine = engine_after(scenario, ROUNDS)
    return engine.rows(), engine.exchanges.bytes


def peers(directory, algorithm, topology, radius):
    parameters = {"radius": radius, **({"width": WIDTH} if algorithm == "sketchguard" else {})}
    rounds = {"algorithm": algorithm, "parameters": parameters, "topology": f"{topology}:{NODES}"}
    return digits_peers(directory, NODES, rounds={"stop_after": ROUNDS, **rounds})


@pytest.mark.parametrize("topology", ["complete", "ring"])
@in_trio
async def test_rows_go_to_those_who_want_them_as_in_the_simulation(tmp_path, topology):
    sent, radius = {}, 0.05
    for algorithm in ("balance", "sketchguard"):
        (tmp_path / algorithm).mkdir()
        several = peers(tmp_path / algorithm, algorithm, topology, radius)
        await run_all(several)
        sent[algorithm] = sum(peer._incarnation.counters.bytes_sent for peer in several)
    rows, count = simulated("sketchguard", topology, radius)
    _, of_all = simulated("balance", topology, radius)
    learned = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in several])
    assert (learned - rows).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in several])
    mixes = [mix for peer in several for mix in records_of(peer.home, "mix")]
    assert not any(mix["missing"] for mix in mixes)
    asked, links = (
        sum(len(mix["members"]) for mix in mixes),
        ROUNDS * 5 * (4 if topology == "complete" else 2),
    )
    assert asked + sum(len(mix["unwanted"]) for mix in mixes) == links == asked + served_none(mixes)
    assert (
        count == links * 4 * (WIDTH + 1) + asked * of_all // links
    )  # a summary and a wish each, and some rows
    assert 0 < asked < links
    assert sent["sketchguard"] < sent["balance"]  # with headers, and what a busy member is sent again


def served_none(mixes):
    return sum(len(mix["unsent"]) for mix in mixes)


@in_trio
async def test_a_lie_has_a_summary_of_its_own(tmp_path):
    run = {"nodes": 5, "hostile": (1, 4), "topology": "complete:5", "stop_after": 4}
    run |= {"algorithm": "sketchguard", "parameters": {"width": WIDTH, "radius": 0.3}}
    several = peers_with_hostile(tmp_path, SignFlip(scale=2.0), **run)
    await run_all(several)
    learned = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in several])
    assert (learned - simulated_lies(SignFlip(scale=2.0), **run)).abs().max() < 1e-5
    for number in (0, 2, 3):
        assert all({1, 4} <= set(mix["unwanted"]) for mix in records_of(several[number].home, "mix"))
    assert_replayed([peer.home.directory for peer in several])


@in_trio
async def test_who_is_absent_is_not_waited_for_and_who_is_late_gets_all_rows(tmp_path):
    rounds = {
        "algorithm": "sketchguard",
        "parameters": {"width": 3, "radius": 1e-6},
        "topology": "complete:4",
        "gathering": 0.3,
        "deadline": 2.0,
        "patience": 1,
        "period": 0.03,
    }
    first, second, late, _never = peers_in_rounds(tmp_path, 4, rounds=rounds)
    await one_comes_late(first, second, late)
    assert all(3 in mix["missing"] for mix in records_of(first.home, "mix"))


@in_trio
async def test_thinned_rows_are_sent_to_all(tmp_path):
    rounds = {"algorithm": "sketchguard", "parameters": {"width": 50}, "topology": "ring:3", "stop_after": 3}
    several = digits_peers(tmp_path, 3, rounds=rounds, outgoing=[{"kind": "mask", "share": 0.5}])
    await run_all(several)
    assert all("unwanted" not in mix for peer in several for mix in records_of(peer.home, "mix"))
    assert_replayed([peer.home.directory for peer in several])


def test_what_a_preview_returns_is_checked():
    around = neighbourhood_of({0: 0.5}, torch.zeros(1, 2), (1,), {1: torch.ones(2)}, number=0)
    for preview, complaint in [
        (Preview(summary=lambda rows: rows[:, :1], width=2, wanted=lambda _: None), r"\[1, 2\]"),
        (Preview(summary=lambda rows: rows / 0, width=2, wanted=lambda _: 1 / 0), "ZeroDivisionError"),
        (Preview(summary=lambda rows: rows, width=2, wanted=lambda _: torch.ones(2)), r"\[1, 1\]"),
    ]:
        exchange = NeighbourRows(torch.zeros(1, 2), lambda _: None, preview=preview)
        with pytest.raises(InvalidAlgorithm, match=complaint):
            exchange.wanted(replace(around, own=exchange.summarised(around.own)))
