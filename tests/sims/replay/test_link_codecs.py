"""Peers that choose a codec for each link, on real sockets; and the same rows again from their records."""

from gossipfl.peer import Peer
from sims.calibration.calibrate import calibrate
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running


@in_trio
async def test_a_peer_on_a_slow_link_sends_short_models_and_gets_whole_ones(tmp_path):
    auto = {"exchange": {"codec": "auto"}}
    hub = Peer(tmp_path / "0", settings=quick_settings(0, **auto))
    async with running(hub):
        bootstrap = hub.status().addresses
        slow = quick_settings(1, bootstrap=bootstrap, network={"upload_mbits": 0.05}, **auto)
        peers = [
            hub,
            Peer(tmp_path / "1", settings=slow),
            Peer(tmp_path / "2", settings=quick_settings(2, bootstrap=bootstrap, **auto)),
        ]
        async with running(*peers[1:]):
            names = [peer.status().peer_id for peer in peers]

            def codecs(receiver, sender):
                merges = records_of(peers[receiver].home, "merge")
                return {each["codec"] for each in merges if each["sender"] == names[sender]}

            ways = [(a, b) for a in range(3) for b in range(3) if a != b]
            await until(lambda: all(codecs(*way) for way in ways))
            for receiver, sender in ways:
                assert codecs(receiver, sender) == {"int8:256" if sender == 1 else "float32"}
            shown = [{each["peer_id"]: each["codec"] for each in peer.status().peers} for peer in peers]
            assert shown[1][names[0]] == "int8:256"
            assert shown[0][names[1]] == "float32"
            sent = {each["codec"] for each in records_of(peers[1].home, "exchange")}
            assert sent <= {"int8:256", None}
    homes = [peer.home.directory for peer in peers]
    assert [peer.verdict for peer in replay(homes).peers] == ["identical"] * 3
    calibrated = calibrate(homes)
    assert any("each link had a codec of its own" in note for note in calibrated.notes)
