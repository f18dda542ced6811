"""Peers that send parts of models, on real sockets; and the same rows again from their records."""

import pytest

from gossipfl.algorithms import Sharing
from gossipfl.algorithms.gossip.flow import Flow
from sims.calibration.calibrate import calibrate
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, records_of, refused_for_cause
from tests.sims.compiler.declared import NAME

PARTITIONED = {"kind": "partitioned", "parts": 4}
SUBSAMPLED = {"kind": "subsampled", "parts": 3}


def assert_identical(peers, *, batched=True):
    homes = [peer.home.directory for peer in peers]
    report = replay(homes)
    assert [peer.verdict for peer in report.peers] == ["identical"] * len(peers)
    assert report.notes == ()
    if batched:
        assert max(peer.max_relative for peer in replay(homes, batched=True).peers) <= 1e-5
    return homes


def parts_of(peer):
    return [each["part"] for each in records_of(peer.home, "merge")]


def accounts_of(peer):
    return {each["account"] for each in records_of(peer.home, "tokens")}


@pytest.mark.parametrize("mode", ["push-pull", "push", "pull"])
@in_trio
async def test_fixed_parts_have_ages_of_their_own(tmp_path, mode):
    tables = {"gossip": {"sharing": PARTITIONED}, "exchange": {"mode": mode}, "training": {"momentum": 0.5}}
    async with network_of(tmp_path, 3, **tables) as peers:
        await until(lambda: all(set(parts_of(peer)) == set(range(4)) for peer in peers))
        assert all(peer._incarnation.learner.state.nodes.ages.shape == (1, 4) for peer in peers)
        assert not any(map(refused_for_cause, peers))
    assert_identical(peers)


@in_trio
async def test_samples_of_numbers_are_drawn_anew_for_each_message(tmp_path):
    async with network_of(tmp_path, 3, gossip={"sharing": SUBSAMPLED}) as peers:
        await until(lambda: min(len(parts_of(peer)) for peer in peers) >= 12)
        assert not any(map(refused_for_cause, peers))
    for peer in peers:
        assert len(set(parts_of(peer))) > len(parts_of(peer)) / 2
    assert_identical(peers)


@in_trio
async def test_each_part_has_a_token_account(tmp_path):
    flow = {"kind": "generalized", "capacity": 4, "reserve": 2}
    tables = {"gossip": {"sharing": PARTITIONED, "flow": flow}, "exchange": {"mode": "push"}}
    async with network_of(tmp_path, 3, **tables) as peers:
        await until(lambda: all(len(parts_of(peer)) >= 12 for peer in peers))
        await until(lambda: all(accounts_of(peer) == set(range(4)) for peer in peers))
    for peer in peers:
        decisions = records_of(peer.home, "tokens")
        received = [each["account"] for each in decisions if each["occasion"] == "receipt"]
        assert received == parts_of(peer)[: len(received)]
    calibrated = calibrate(assert_identical(peers)).scenario.algorithm.build()
    assert calibrated.sharing == Sharing(**PARTITIONED)
    assert calibrated.flow == Flow(**flow)


@pytest.mark.parametrize("trains", ["receipt", "clock", "answer"])
@in_trio
async def test_whatever_an_algorithm_does_with_parts_is_replayed(tmp_path, trains):
    gossip = {
        "algorithm": NAME,
        "trains": trains,
        "exchange": "push-pull",
        "carried": "trace+momentum",
        "sharing": PARTITIONED,
    }
    tables = {
        "gossip": gossip,
        "exchange": {"patience": 1000.0 if trains != "receipt" else 0.3, "merges_per_training": 1},
        "training": {"learning_rate": 0.05, "momentum": 0.5},
    }
    async with network_of(tmp_path, 3, **tables) as peers:
        await until(lambda: all(peer.status().step >= 8 and len(parts_of(peer)) >= 8 for peer in peers))
    assert_identical(peers)


@in_trio
async def test_a_peer_resumes_with_the_ages_of_its_parts(tmp_path):
    tables = {"gossip": {"sharing": PARTITIONED}}
    async with network_of(tmp_path, 2, **tables) as peers:
        await until(lambda: all(len(parts_of(peer)) >= 6 for peer in peers))
    before = [peer._incarnation.learner.state.nodes.ages for peer in peers]
    async with network_of(tmp_path, 2, **tables) as again:
        for peer, ages in zip(again, before, strict=True):
            assert peer._incarnation.learner.state.nodes.ages.ge(ages).all()
        await until(lambda: all(len(parts_of(peer)) >= 20 for peer in again))
    assert_identical(again)
