"""Whatever an algorithm declares: recorded by peers, resumed from a checkpoint, and replayed."""

import pytest

from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, records_of
from tests.sims.compiler.declared import NAME
from tests.sims.replay.recorded import recorded_run
from tests.sims.replay.test_ad_psgd import conversed_run


def assert_replayed(homes):
    by_row, batched = replay(homes), replay(homes, batched=True)
    assert {peer.verdict for peer in by_row.peers} == {"identical"}
    assert by_row.notes == ()
    assert max(peer.max_relative for peer in batched.peers) <= 1e-5


@pytest.mark.parametrize("codec", ["float32", "bfloat16"])
def test_rows_beside_the_model_are_saved_resumed_and_replayed(tmp_path, codec):
    gossip = {"algorithm": NAME, "carried": "trace+weight+momentum"}
    tables = {"gossip": gossip, "training": {"momentum": 0.5}, "exchange": {"codec": codec}}
    assert_replayed(recorded_run(tmp_path, **tables))


def test_steps_begun_earlier_are_replayed_with_what_was_carried(tmp_path):
    gossip = {"algorithm": NAME, "trains": "answer", "exchange": "pull", "carried": "trace+momentum"}
    assert_replayed(conversed_run(tmp_path, gossip=gossip))


@in_trio
async def test_real_peers_train_on_their_clocks_and_are_replayed(tmp_path):
    gossip = {"algorithm": NAME, "trains": "clock", "carried": "weight+momentum"}
    tables = {
        "gossip": gossip,
        "exchange": {"patience": 1000.0, "merges_per_training": 1},
        "training": {"learning_rate": 0.05, "momentum": 0.5},
    }
    async with network_of(tmp_path, 3, **tables) as peers:
        await until(lambda: all(peer.status().step >= 8 for peer in peers))
    for peer in peers:
        clocks, merges = records_of(peer.home, "clock"), records_of(peer.home, "merge")
        assert len(clocks) >= 8
        assert all(each["trained"] for each in clocks)
        assert merges
        assert not any(each["trained"] for each in merges)
        assert not records_of(peer.home, "train")
    assert_replayed([peer.home.directory for peer in peers])
