"""Relayed connections on hosts of 127.0.0.1: the same door, bans and limits as for direct ones."""

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio
from libp2p.relay.circuit_v2.dcutr import DCUtRProtocol
from libp2p.relay.circuit_v2.protocol import PROTOCOL_ID as HOP

from gossipfl.errors import ExchangeFailed, NotAdmitted, PeerUnreachable
from gossipfl.membership import AllowingDoor, OpenDoor, Threshold
from gossipfl.network import Hearsay, Identity, Scope, ServiceLimits
from gossipfl.network.libp2p import relay_connections, relaying
from gossipfl.wire import Acknowledgement

from .helpers import NONSENSE, assert_serves, in_trio, model_frame, serving_host, until

LIMITS = ServiceLimits(streams=64, streams_per_peer=9, bytes=2**30, bytes_per_second=1e8, seconds=3600.0)


@asynccontextmanager
async def relayed(*, doors=(None, None), limits=LIMITS):
    """A relay with limits on circuits, and two hosts that others reach through it."""
    identities = [Identity.generate() for _ in range(3)]
    async with AsyncExitStack() as stack:
        hosts = []
        for identity, door in zip(
            identities, (None, *(each and each(identities) for each in doors)), strict=True
        ):
            threshold = None if door is None else Threshold(door, {})
            hosts.append(
                await stack.enter_async_context(serving_host(identity=identity, threshold=threshold))
            )
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        relay, *others = hosts
        offer = partial(relay_connections, relay, identities[0], offers=True, limits=limits)
        nursery.start_soon(offer)
        for host, identity in zip(others, identities[1:], strict=True):
            use = partial(relay_connections, host, identity, relays=relay.addresses, limits=LIMITS)
            nursery.start_soon(use)
        yield hosts


def circuits(host):
    return [each for each in host.addresses if "/p2p-circuit/" in each]


async def exchanged(host, other, *, addresses=None):
    reply = await host.exchange(other.peer_id, addresses or circuits(other), model_frame(), seconds=20)
    return reply == Acknowledgement(incarnation=1, sequence=1)


@in_trio
async def test_a_peer_is_reached_at_the_address_that_it_announces_at_its_relay():
    async with relayed() as (relay, one, other):
        await until(lambda: circuits(one) and circuits(other))
        assert circuits(other) == [f"{relay.addresses[0]}/p2p-circuit/p2p/{other.peer_id}"]
        assert other.announcement().addresses == other.addresses
        before = relay.counters.messages_received
        assert await exchanged(one, other)
        assert await exchanged(other, one, addresses=["/ip4/127.0.0.1/tcp/9"])  # by the same connection
        assert relay.counters.messages_received == before  # it sees sealed bytes


@in_trio
async def test_a_direct_connection_replaces_the_relayed_one_for_exchanges():
    async with relayed() as (relay, one, other):
        await until(lambda: circuits(other))
        assert await exchanged(one, other)
        await until(
            lambda: one.remote_address(other.peer_id) == "127.0.0.1"
        )  # both dial each other meanwhile
        relay.abort(one.peer_id)
        assert await exchanged(one, other, addresses=["/ip4/127.0.0.1/tcp/9"])


@in_trio
async def test_circuits_need_the_setting_and_a_relay_that_reserved():
    async with relayed() as (relay, _, other), serving_host() as without:
        await until(lambda: circuits(other))
        with pytest.raises(PeerUnreachable, match="no address at which"):
            await exchanged(without, other)
        refused = f"{relay.addresses[0]}/p2p-circuit/p2p/{without.peer_id}"
        with pytest.raises(PeerUnreachable, match="no_reservation"):
            await other.exchange(without.peer_id, [refused], model_frame(), seconds=20)
        await assert_serves(relay)


@in_trio
async def test_the_door_is_the_same_behind_a_relay():
    doors = (lambda _: OpenDoor(), lambda identities: AllowingDoor([identities[0].peer_id]))
    async with relayed(doors=doors) as (_, one, other):
        await until(lambda: circuits(other))
        with pytest.raises(NotAdmitted, match="not a member"):
            await exchanged(one, other)
        assert one.peer_id not in other.connected()


@in_trio
async def test_bans_hold_behind_a_relay():
    async with relayed() as (_, one, other):
        await until(lambda: circuits(other))
        other._bans.offend(one.peer_id, now=trio.current_time(), weight=10.0)
        with pytest.raises(ExchangeFailed):
            await exchanged(one, other)
        assert one.peer_id not in other.connected()


@in_trio
async def test_hearsay_of_relays_leads_no_further_inward():
    async with relayed() as (_, one, other):
        await until(lambda: circuits(other))
        with pytest.raises(PeerUnreachable, match="narrower scope"):
            await exchanged(one, other, addresses=[Hearsay(each, Scope.GLOBAL) for each in circuits(other)])


@in_trio
async def test_a_circuit_beyond_its_bytes_ends_and_is_no_offence(monkeypatch):
    monkeypatch.setattr(DCUtRProtocol, "_auto_drive_loop", lambda _: trio.sleep_forever())
    limits = ServiceLimits(streams=64, streams_per_peer=9, bytes=20_000, bytes_per_second=1e8, seconds=3600.0)
    async with relayed(limits=limits) as (relay, one, other):
        await until(lambda: circuits(other))
        outcomes = []
        for _ in range(20):  # of 4 kB, and more than 20 kB in all
            try:
                outcomes.append(await exchanged(one, other))
            except ExchangeFailed:
                outcomes.append(False)
        assert outcomes.count(True) >= 10
        await until(lambda: relay.counters.refused["rate_limited"] >= 2)
        for host in (relay, one, other):
            assert not any(host.is_banned(each.peer_id) for each in (relay, one, other))


@in_trio
async def test_reservations_are_renewed_for_ever_and_made_again_where_they_were_lost(monkeypatch):
    """A relay that kept the places of streams that have ended would refuse the tenth."""
    monkeypatch.setattr(relaying, "_REFRESH_SECONDS", 0.3)
    monkeypatch.setattr(relaying, "_LOOK_SECONDS", 0.05)
    asked = []
    ask = relaying._Client._ask

    async def counted(client, connection, message):
        asked.append(message.type)
        return await ask(client, connection, message)

    monkeypatch.setattr(relaying._Client, "_ask", counted)
    async with relayed() as (relay, one, other):
        await until(lambda: len(asked) >= 40, seconds=50)
        assert circuits(one)
        assert circuits(other)
        assert not relay.counters.refused
        relay.abort(one.peer_id)
        await until(lambda: one.peer_id in relay.connected() and circuits(one))
        assert await exchanged(other, one)


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
@in_trio
async def test_whatever_a_relay_answers_fails_that_dial_only(said):
    async with relayed() as (_, one, other), serving_host() as liar:

        async def lie(stream):
            await stream.write(said)

        liar.services.offer(HOP, lie)
        address = f"{liar.addresses[0]}/p2p-circuit/p2p/{other.peer_id}"
        await until(lambda: one._dialler.circuits is not None)
        with pytest.raises(ExchangeFailed):
            await exchanged(one, other, addresses=[address])
        await assert_serves(one)
