"""Peers with token accounts, on real sockets: their decisions and their rows, again from their records."""

import pytest

from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, records_of
from tests.sims.replay.recorded import rewrite

FLOWS = [
    {"kind": "simple", "capacity": 3},
    {"kind": "generalized", "capacity": 6, "reserve": 2},
    {"kind": "randomized", "capacity": 6, "reserve": 3},
]


def reactions_of(home):
    return [each for each in records_of(home, "tokens") if each["occasion"] == "receipt"]


def have_reacted(peers):
    """Whether all have merged a dozen models, and one has answered models with messages of its own.

    Not everyone need ever answer one: whoever began first has the oldest model, and to it no other's is useful.
    """
    merged = all(len(records_of(peer.home, "merge")) >= 12 for peer in peers)
    return merged and any(each["messages"] for peer in peers for each in reactions_of(peer.home))


@pytest.mark.parametrize("flow", FLOWS, ids=lambda each: each["kind"])
@in_trio
async def test_peers_send_what_they_can_pay_and_are_replayed(tmp_path, flow):
    tables = {"gossip": {"flow": flow}, "exchange": {"mode": "push"}}
    async with network_of(tmp_path, 4, **tables) as peers:
        await until(lambda: have_reacted(peers), seconds=300)
    for peer in peers:
        decisions = records_of(peer.home, "tokens")
        rings = [each["messages"] for each in decisions if each["occasion"] == "clock"]
        reactions = reactions_of(peer.home)
        taken = [each for each in records_of(peer.home, "exchange") if each["outcome"] == "ok"]
        assert len(taken) <= sum(each["messages"] for each in decisions)  # what was declined is offered again
        if flow["kind"] == "randomized":
            assert not any(each["messages"] for each in reactions if not each["useful"])
        assert sum(each["messages"] for each in decisions) <= len(rings)
        merges = [each["event"] for each in records_of(peer.home, "merge")]
        assert [each["merge_event"] for each in reactions] == merges[: len(reactions)]
    homes = [peer.home.directory for peer in peers]
    report = replay(homes)
    assert [peer.verdict for peer in report.peers] == ["identical"] * 4
    assert report.notes == ()


@in_trio
async def test_a_changed_decision_is_found(tmp_path):
    tables = {"gossip": {"flow": FLOWS[1]}, "exchange": {"mode": "push"}}
    async with network_of(tmp_path, 2, **tables) as peers:
        await until(lambda: all(len(records_of(peer.home, "merge")) >= 5 for peer in peers))

    def with_another_message(records):
        decision = [each for each in records if each["kind"] == "tokens"][4]
        decision["messages"] += 1
        return records

    homes = [peer.home.directory for peer in peers]
    [path] = homes[1].glob("records/*.jsonl")
    rewrite(path, with_another_message)
    [note] = replay(homes).notes
    assert "left the decisions of a token account: messages at" in note
