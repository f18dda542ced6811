"""Settings of a peer's link: caps that change while it runs, and pushes that it declines."""

from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import in_trio, until

from .peers import quick_settings, record_lines, running


def exchanged(peer, outcome):
    return [
        each for each in record_lines(peer.home) if each["kind"] == "exchange" and each["outcome"] == outcome
    ]


@in_trio
async def test_caps_change_while_a_peer_runs(tmp_path):
    peer = Peer(tmp_path / "alice", settings=quick_settings(network={"upload_mbits": 8.0}))
    async with running(peer):
        link = peer._incarnation.host.link
        assert link.upload.cap.bytes_per_second == 1e6
        assert link.download.cap is None
        peer.reload(quick_settings(network={"upload_mbits": 2.0, "download_mbits": 4.0}))
        assert link.upload.cap.bytes_per_second == 250_000
        assert link.download.cap.bytes_per_second == 500_000
        peer.reload(quick_settings())
        assert link.upload.cap is link.download.cap is None


@in_trio
async def test_a_peer_that_accepts_no_pushes_exchanges_when_it_likes(tmp_path):
    closed = Peer(tmp_path / "closed", settings=quick_settings(0, exchange={"accept_pushes": False}))
    async with running(closed):
        other = Peer(tmp_path / "other", settings=quick_settings(1, bootstrap=closed.status().addresses))
        async with running(other):
            await until(lambda: len(exchanged(closed, "ok")) > 5)
            await until(lambda: exchanged(other, "peer_busy"))
            done = len(exchanged(closed, "ok"))
            await until(lambda: len(exchanged(closed, "ok")) > done + 20)
            assert len(exchanged(other, "peer_busy")) == 1  # told once, it keeps to it
            assert not exchanged(other, "ok")
