"""Relaying as settings ask for it."""

import pytest

from gossipfl.errors import GossipflError, SettingError
from gossipfl.network import Identity
from gossipfl.peer import Peer, relaying
from gossipfl.peer.relaying import circuit_limits
from gossipfl.settings import parse_settings
from tests.gossipfl.network.helpers import in_trio
from tests.integration.peers import quick_settings, running

RELAY = f"/ip4/127.0.0.1/tcp/4001/p2p/{Identity(bytes(32)).peer_id}"


@pytest.mark.parametrize("network", [{"relay": [RELAY]}, {"offer_relay": True}], ids=["use", "offer"])
@in_trio
async def test_a_missing_library_is_named_with_what_to_install(tmp_path, monkeypatch, network):
    monkeypatch.setattr(relaying, "find_spec", lambda _: None)
    peer = Peer(tmp_path / "peer", settings=quick_settings(network=network))
    with pytest.raises(SettingError, match=rf"network\.{next(iter(network))} .*gossipfl\[libp2p\]"):
        await peer.run()


@in_trio
async def test_no_setting_imports_no_library(tmp_path, monkeypatch):
    monkeypatch.setattr(relaying, "find_spec", lambda _: pytest.fail("the library was looked for"))
    async with running(Peer(tmp_path / "peer", settings=quick_settings())):
        pass


@pytest.mark.parametrize(
    ("tables", "part"),
    [
        ({"network": {"relay": ["/ip4/127.0.0.1/tcp/4001"]}}, "does not say whom to expect"),
        ({"network": {"relay": [f"{RELAY}/p2p-circuit"]}}, "is not an address of a peer"),
        ({"network": {"offer_relay": True}, "rounds": {"algorithm": "d-psgd"}}, "are dialled directly"),
    ],
)
def test_settings_that_cannot_be_are_refused(tables, part):
    with pytest.raises(GossipflError, match=part):
        parse_settings(tables, source="a test")


@pytest.mark.parametrize("size", [1_000, 25_000_000])
def test_circuits_have_room_for_exchanges_of_rows_all_day(size):
    limits = circuit_limits(size, period=2.0)
    row = 4 * size
    assert limits.bytes >= 86_400 / 2.0 * 4 * row
    assert limits.bytes_per_second >= 8 * 4 * row / 2.0
