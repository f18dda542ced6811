"""Peers that run AD-PSGD: on real sockets, and the same rows again from their records."""

from dataclasses import replace

import numpy as np

from sims.calibration.calibrate import calibrate
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, records_of
from tests.sims.replay.recorded import RecordingPeer, settings_of

AD_PSGD = {"algorithm": "ad_psgd"}


def converse(peers, *, rounds, seed):
    """Questions with models and their answers, which take their time and overtake each other."""
    generator = np.random.default_rng(seed)
    under_way = []
    for _ in range(rounds):
        for asking in generator.permutation(len(peers)):
            asked = (asking + generator.integers(1, len(peers))) % len(peers)
            under_way.append((peers[asked], peers[asking].message(), peers[asking], peers[asking].state))
        while len(under_way) > generator.integers(0, 6):
            receiver, message, asking, begun = under_way.pop(int(generator.integers(len(under_way))))
            if asking is not None:
                answer = replace(receiver.message(), begun=begun)
                under_way.append((asking, answer, None, None))
            receiver.take_in(message)


def conversed_run(directory, *, gossip):
    """A recorded network of four peers that train on answers, one of which was killed and resumed."""
    exchange = {"merges_per_training": 1, "mode": gossip.get("exchange", "push-pull")}
    tables = {"gossip": gossip, "exchange": exchange, "training": {"momentum": 0.5}}
    network = [RecordingPeer(directory / f"peer-{i}", settings_of(i, **tables)) for i in range(4)]
    converse(network, rounds=6, seed=0)
    network[1].save()
    converse(network, rounds=4, seed=1)
    network[1].kill()
    network[1].start()
    converse(network, rounds=6, seed=2)
    for peer in network:
        peer.train_alone()
        peer.save()
        peer.kill()
    return [peer.home.directory for peer in network]


def test_a_recorded_run_is_replayed_by_row_to_the_last_bit_and_batched_closely(tmp_path):
    homes = conversed_run(tmp_path, gossip=AD_PSGD)
    by_row, batched = replay(homes), replay(homes, batched=True)
    assert [peer.verdict for peer in by_row.peers] == ["identical"] * 4
    assert by_row.notes == ()
    assert max(peer.max_relative for peer in batched.peers) <= 1e-5
    assert 0 < batched.waves < batched.events == by_row.events


@in_trio
async def test_real_peers_step_with_each_answer_and_are_replayed(tmp_path):
    tables = {"gossip": AD_PSGD, "exchange": {"patience": 1000.0}, "training": {"learning_rate": 0.1}}
    async with network_of(tmp_path, 3, **tables) as peers:
        await until(lambda: all(8 <= peer.status().step < peer.status().event for peer in peers))  # asked too
    for peer in peers:
        merges = records_of(peer.home, "merge")
        stepped = [each for each in merges if each["trained"]]
        assert len(stepped) >= 8
        assert all(each["begun_event"] < each["event"] for each in stepped)
        assert all(each["begun_event"] is None for each in merges if not each["trained"])
        assert not records_of(peer.home, "train")
    homes = [peer.home.directory for peer in peers]
    assert [peer.verdict for peer in replay(homes).peers] == ["identical"] * 3
    assert calibrate(homes).scenario.algorithm.name == "ad_psgd"
