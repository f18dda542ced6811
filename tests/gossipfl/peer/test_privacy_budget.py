"""Peers with a privacy budget: on real sockets, and their settings."""

import json
import math

import pytest

from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.privacy.gaussian import largest_shift
from gossipfl.settings import parse_settings
from sims.errors import InvalidScenario
from sims.scenario import load_scenario
from sims.scenario.outgoing import outgoing_of
from tests.gossipfl.network.helpers import in_trio, until
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


def test_a_budget_needs_a_clip_and_gossip():
    with pytest.raises(SettingError, match="clip"):
        parse_settings({"outgoing": OUTGOING[1:]}, source="a test")
    with pytest.raises(SettingError, match="more than one"):
        parse_settings({"outgoing": [*OUTGOING, OUTGOING[1]]}, source="a test")
    with pytest.raises(SettingError, match="rounds"):
        parse_settings({"outgoing": OUTGOING, "rounds": {"algorithm": "d_psgd"}}, source="a test")
    with pytest.raises(InvalidScenario, match="ledger"):
        scenario = load_scenario("digits")
        outgoing_of(scenario.model_copy(update={"outgoing": quick_settings(0, outgoing=OUTGOING).outgoing}))
