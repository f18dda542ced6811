"""Peers with a privacy budget: on real sockets, and their settings."""

import json
import math

import pytest
import trio

from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.privacy.gaussian import largest_shift
from gossipfl.settings import parse_settings
from sims.errors import InvalidScenario
from sims.replay import replay
from sims.scenario import load_scenario
from sims.scenario.outgoing import outgoing_of
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import network_of, quick_settings, records_of, running

NORM, DEVIATION, EPSILON, DELTA = 1.0, 2.0, 8.0, 1e-5
OUTGOING = [
    {"kind": "clip", "norm": NORM},
    {"kind": "noise", "deviation": DEVIATION, "epsilon": EPSILON, "delta": DELTA},
]


def _spent(peer):
    lines = peer.home.privacy_ledger.read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1]) if lines else {"releases": 0, "spent": 0.0}


@in_trio
async def test_a_peer_stops_sending_when_its_budget_is_spent_and_after_a_restart(tmp_path):
    most = math.floor(largest_shift(EPSILON, DELTA) ** 2 / (2 * NORM / DEVIATION) ** 2)
    assert most == 2
    async with network_of(tmp_path, 2, outgoing=OUTGOING) as peers:
        await until(lambda: all("privacy" in {each["name"] for each in p.status().conditions} for p in peers))
        assert [_spent(peer)["releases"] for peer in peers] == [most, most]
        steps = [peer.status().step for peer in peers]
        await until(lambda: all(peer.status().step > step for peer, step in zip(peers, steps, strict=True)))
    for peer, other in (peers, peers[::-1]):
        received = [record for kind in ("merge", "refusal") for record in records_of(other.home, kind)]
        assert len(received) <= _spent(peer)["releases"] == most
    again = Peer(peers[0].home.directory, settings=peers[0].settings)
    async with running(again):
        await until(lambda: again.status().step > 0)
    assert _spent(again)["releases"] == most


@in_trio
async def test_a_peer_in_rounds_goes_on_without_sending_once_its_budget_is_spent(tmp_path):
    most = math.floor(largest_shift(EPSILON, DELTA) ** 2 / (2 * NORM / DEVIATION) ** 2)
    rounds = {"algorithm": "d_psgd", "topology": "complete:3", "deadline": 60.0}
    recorded = [OUTGOING[0], OUTGOING[1] | {"recorded": True}]
    spending, *others = peers_in_rounds(
        tmp_path, 3, rounds=rounds | {"stop_after": most + 6}, outgoing=recorded
    )
    for other in others:  # theirs lasts for longer
        lasting = [recorded[0], recorded[1] | {"epsilon": 1000.0}]
        other.settings = parse_settings(
            other.settings.model_dump(mode="json") | {"outgoing": lasting}, source="a test"
        )
    async with trio.open_nursery() as nursery:
        for peer in (spending, *others):
            nursery.start_soon(peer.run)
    assert _spent(spending)["releases"] == most
    mixes = records_of(spending.home, "mix")
    assert [bool(mix["unsent"]) for mix in mixes] == [False] * most + [True] * 6
    assert all(mix["untaken"] == [1, 2] for mix in mixes[most:]), (
        "the mass that it does not send stays with it"
    )
    assert all(mix["members"] == [1, 2] for mix in mixes), "it goes on learning from the others"
    for other in others:
        heard = [mix["round"] for mix in records_of(other.home, "mix") if 0 in mix["members"]]
        assert heard == list(range(most))
        assert _spent(other)["releases"] == most + 6
    report = replay([peer.home.directory for peer in (spending, *others)])
    assert report.equal, report.notes


def test_a_budget_needs_a_clip_before_it_and_a_peer():
    with pytest.raises(SettingError, match="clip"):
        parse_settings({"outgoing": OUTGOING[1:]}, source="a test")
    with pytest.raises(SettingError, match="more than one"):
        parse_settings({"outgoing": [*OUTGOING, OUTGOING[1]]}, source="a test")
    with pytest.raises(InvalidScenario, match="ledger"):
        scenario = load_scenario("digits")
        outgoing_of(scenario.model_copy(update={"outgoing": quick_settings(0, outgoing=OUTGOING).outgoing}))
