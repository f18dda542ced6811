"""Relaying as settings ask for it."""

from contextlib import asynccontextmanager

import pytest
from libp2p.relay.circuit_v2.resources import RelayResourceManager

from gossipfl.errors import GossipflError, SettingError
from gossipfl.network import Identity
from gossipfl.peer import Peer, relaying
from gossipfl.peer.relaying import circuit_limits
from gossipfl.settings import parse_settings
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, running

RELAY = f"/ip4/127.0.0.1/tcp/4001/p2p/{Identity(bytes(32)).peer_id}"


@pytest.mark.parametrize("network", [{"relay": [RELAY]}, {"offer_relay": True}], ids=["use", "offer"])
@in_trio
async def test_a_missing_library_is_named_with_what_to_install(tmp_path, monkeypatch, network):
    monkeypatch.setattr(relaying, "is_installed", lambda _: False)
    peer = Peer(tmp_path / "peer", settings=quick_settings(network=network))
    with pytest.raises(SettingError, match=rf"network\.{next(iter(network))} .*gossipfl\[libp2p\]"):
        await peer.run()


@in_trio
async def test_no_setting_imports_no_library(tmp_path, monkeypatch):
    monkeypatch.setattr(relaying, "is_installed", lambda _: pytest.fail("the library was looked for"))
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


@asynccontextmanager
async def behind(relay, directory, *, index):
    """A peer that is to be reached through another."""
    network = {"relay": relay.status().addresses[:1]}
    peer = Peer(directory, settings=quick_settings(index, network=network))
    async with running(peer):
        yield peer


def conditions_of(peer):
    return {each["name"]: each["text"] for each in peer.status().conditions}


def is_reached_by_relay(peer):
    return any("/p2p-circuit/" in each for each in peer.status().addresses)


@in_trio
async def test_a_relay_that_is_full_is_named_in_the_status_until_it_has_a_place(tmp_path, monkeypatch):
    monkeypatch.setattr("gossipfl.network.libp2p.relaying._LONGEST_PAUSE_SECONDS", 0.2)
    room = []
    monkeypatch.setattr(RelayResourceManager, "can_accept_reservation", lambda *_: bool(room))
    relay = Peer(tmp_path / "relay", settings=quick_settings(network={"offer_relay": True}))
    async with running(relay), behind(relay, tmp_path / "peer", index=1) as peer:
        await until(lambda: "relay" in conditions_of(peer))
        text = conditions_of(peer)["relay"]
        assert "the relay has no place for this peer" in text and "another peer in network.relay" in text
        assert relay.status().addresses[0] in text
        assert not is_reached_by_relay(peer)
        room.append(1)
        await until(lambda: "relay" not in conditions_of(peer))
        assert is_reached_by_relay(peer)


@in_trio
async def test_a_peer_that_is_no_relay_or_not_there_is_named_in_the_status(tmp_path):
    other = Peer(tmp_path / "other", settings=quick_settings())
    async with running(other), behind(other, tmp_path / "peer", index=1) as peer:
        await until(lambda: "is no relay" in conditions_of(peer).get("relay", ""))
        assert "Set network.offer_relay = true" in conditions_of(peer)["relay"]
    peer = Peer(tmp_path / "alone", settings=quick_settings(2, network={"relay": [RELAY]}))
    async with running(peer):
        await until(lambda: f"{RELAY}: " in conditions_of(peer).get("relay", ""))


@pytest.mark.parametrize("size", [1_000, 25_000_000])
def test_circuits_have_room_for_exchanges_of_rows_all_day(size):
    limits = circuit_limits(size, period=2.0)
    row = 4 * size
    assert limits.bytes >= 86_400 / 2.0 * 4 * row
    assert limits.bytes_per_second >= 8 * 4 * row / 2.0
