"""A model that merges have spoiled: its peer notices by its own samples, and goes back to what it had saved."""

import trio

from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import in_trio, until

from .gate_networks import open_threshold
from .liar import Liar
from .peers import quick_settings, records_of, running

#: A gate that lets everything finite through.
BLIND = {
    "radius": 1e9,
    "angle": 2.0,
    "norm": 1e9,
    "loss": 1e9,
    "unmoved_times": 10**9,
    "pace": 1e9,
    "fair_shares": 1e9,
}


@in_trio
async def test_a_poisoned_model_is_noticed_and_undone(tmp_path, caplog):
    settings = quick_settings(0, gate=BLIND, exchange={"patience": 0.02}, checkpoint={"period": 0.1})
    peer = Peer(tmp_path / "peer", settings=settings)
    async with running(peer):
        await until(lambda: peer.status().metrics.get("accuracy", 0) > 0.9)
        liar = Liar("garbage", peer.task, peer.settings, threshold=open_threshold(peer.home))
        liar.lie = lambda liar, heard: (30 * liar.noise(), heard.age + 1000)
        status = peer.status()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(liar.run, [(status.peer_id, tuple(status.addresses))])
            await until(lambda: records_of(peer.home, "go_back"))
            nursery.cancel_scope.cancel()
        await until(lambda: is_well(peer.home))
    assert "merges spoiled what the model had learned" in caplog.text
    poisoned = records_of(peer.home, "merge")[0]["event"]
    assert records_of(peer.home, "go_back")[0]["good_event"] < poisoned


def is_well(home):
    """Whether the model has been good since the last lie."""
    last = records_of(home, "merge")[-1]["event"]
    return any(each["event"] > last and each["accuracy"] > 0.9 for each in records_of(home, "evaluation"))
