"""Peers that push, pull, or do both, on real sockets; and the same rows again from their records."""

import pytest

from gossipfl.peer import Peer
from sims.calibration.calibrate import calibrate
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, quick_settings, records_of, running
from tests.sims.compiler.declared import NAME


def assert_identical(peers):
    homes = [peer.home.directory for peer in peers]
    assert [peer.verdict for peer in replay(homes).peers] == ["identical"] * len(peers)
    return homes


def senders_of(peer):
    return {each["sender"] for each in records_of(peer.home, "merge")}


@in_trio
async def test_peers_that_pull_merge_what_they_asked_for_and_are_replayed(tmp_path):
    async with network_of(tmp_path, 3, exchange={"mode": "pull"}) as peers:
        await until(lambda: min(peer.status().event for peer in peers) >= 20)
    for peer in peers:
        asked = [
            each["answer_event"] for each in records_of(peer.home, "exchange") if each["outcome"] == "ok"
        ]
        assert asked
        assert None not in asked
        merged = len(records_of(peer.home, "merge")) + len(records_of(peer.home, "adopt"))
        refused = len(records_of(peer.home, "refusal"))
        assert merged + refused <= len(asked)
    homes = assert_identical(peers)
    assert calibrate(homes).scenario.algorithm.build().exchange == "pull"


@in_trio
async def test_one_pushes_one_pulls_and_one_only_does_both(tmp_path):
    """Whoever pulls and accepts no pushes still gives its model to those that ask."""
    changes = [
        {"exchange": {"mode": "pull", "accept_pushes": False}},
        {"exchange": {"mode": "push"}},
        {"exchange": {"mode": "pull"}},
    ]
    first = Peer(tmp_path / "0", settings=quick_settings(0, **changes[0]))
    async with running(first):
        bootstrap = first.status().addresses
        others = [
            Peer(tmp_path / str(index), settings=quick_settings(index, bootstrap=bootstrap, **changes[index]))
            for index in (1, 2)
        ]
        async with running(*others):
            peers = [first, *others]
            a, b, c = (peer.status().peer_id for peer in peers)
            await until(lambda: senders_of(first) == {b, c} and senders_of(others[1]) == {a, b})
            assert not senders_of(others[0])  # nobody pushes to it, and it asks for nothing
            await until(lambda: others[0].status().step > 0)
    assert_identical(peers)


@pytest.mark.parametrize("trains", ["clock", "answer"])
@in_trio
async def test_algorithms_that_pull_as_they_declare_are_replayed(tmp_path, trains):
    gossip = {"algorithm": NAME, "trains": trains, "exchange": "pull", "carried": "weight+momentum"}
    tables = {
        "gossip": gossip,
        "exchange": {"mode": "pull", "patience": 1000.0, "merges_per_training": 1},
        "training": {"learning_rate": 0.05, "momentum": 0.5},
    }
    async with network_of(tmp_path, 3, **tables) as peers:
        await until(lambda: all(peer.status().step >= 8 for peer in peers))
    for peer in peers:
        merges = records_of(peer.home, "merge")
        assert merges
        assert all(each["trained"] == (trains == "answer") for each in merges)
    assert_identical(peers)
