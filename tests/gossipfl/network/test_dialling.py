"""Dials: whatever an address leads to fails that dial, within bounds, and hearsay leads nowhere inward."""

import socket
import threading
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from gossipfl.errors import (
    ExchangeFailed,
    IdentityMismatch,
    InvalidAddress,
    MessageRefused,
    PeerUnreachable,
)
from gossipfl.network import Hearsay, Identity, Scope, parse_address
from gossipfl.network.dial_book import DialBook
from gossipfl.network.dialling import DialManner
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.noise.upgrade import Upgrader
from gossipfl.network.resolving import Resolver

from .helpers import assert_serves, in_trio, limits, model_frame, serving_host, tcp_address

PEER = Identity.generate().peer_id
HOSTS = st.one_of(
    st.from_regex(r"[!-~]{1,80}", fullmatch=True),
    st.sampled_from(
        ["a..b", "fe80::1%a..b", "xn--a", "." * 60, "a" * 64, "127.1", "localhost", "0.0.0.0", "::"]
    ),
)
TOLD = st.builds(
    "/{}/{}/tcp/{}".format,
    st.sampled_from(["ip4", "ip6", "dns", "dns4", "dns6", "dnsaddr"]),
    HOSTS,
    st.sampled_from(["1", "0", "65535", "65536", "x", "9"]),
) | st.from_regex(r"/[!-~]{1,60}", fullmatch=True)
RESULTS = st.sampled_from(
    [
        OSError("no such name"),
        UnicodeError("label empty"),
        ValueError("embedded null byte"),
        RuntimeError("anything"),
        [],
        [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 1))],
        [(socket.AF_INET6, 1, 6, "", ("::1", 1, 0, 0))],
        [(socket.AF_INET, 1, 6, "", ("not an address", 1))],
    ]
)


@profile(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TOLD, st.sampled_from(Scope)), min_size=1, max_size=4), RESULTS)
def test_whatever_is_told_fails_as_that_exchange_alone(told, result):
    """A name of `a..b` used to end the process: UnicodeError out of getaddrinfo."""

    def lookup(*_):
        if isinstance(result, Exception):
            raise result
        return result

    async def main():
        quick = limits(dial_seconds=1.0, resolve_seconds=0.5)
        with trio.fail_after(20):
            async with serving_host(limits=quick) as host:
                host._dialler.resolver = Resolver(seconds=0.5, lookup=lookup)
                for addresses in ([Hearsay(*each) for each in told], [address for address, _ in told]):
                    with pytest.raises((ExchangeFailed, MessageRefused)):
                        await host.exchange(PEER, addresses, model_frame(), seconds=2.0)

    trio.run(main)


@in_trio
async def test_a_silent_resolver_takes_a_few_threads_and_names_that_are_trusted_have_their_own():
    """It used to occupy a thread for each name that anybody told of."""
    release = threading.Event()
    before = threading.active_count()

    def lookup(host, *_):
        if host != "friend.example":
            release.wait(30)
        return [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 1))]

    resolver = Resolver(seconds=0.3, lookup=lookup)
    refused = []

    async def ask(number):
        with pytest.raises(PeerUnreachable, match="not resolved within"):
            await resolver.resolve(parse_address(f"/dns4/silent{number}.example/tcp/1"), trusted=False)
        refused.append(number)

    try:
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, number)
        assert len(refused) == 30
        assert threading.active_count() - before <= 6
        friend = parse_address("/dns4/friend.example/tcp/1")
        assert await resolver.resolve(friend, trusted=True) == ["192.0.2.1"]
    finally:
        release.set()


@pytest.mark.parametrize(
    ("address", "narrowest", "dialled"),
    [
        ("/ip4/127.0.0.1/tcp/{port}", Scope.LOOPBACK, True),
        ("/ip4/127.0.0.1/tcp/{port}", Scope.LINK, False),
        ("/ip4/127.0.0.1/tcp/{port}", Scope.GLOBAL, False),
        ("/ip6/::ffff:127.0.0.1/tcp/{port}", Scope.PRIVATE, False),
        ("/dns4/rebound.example/tcp/{port}", Scope.GLOBAL, False),
        ("/dns4/rebound.example/tcp/{port}", Scope.LOOPBACK, True),
    ],
)
@in_trio
async def test_hearsay_leads_no_further_inward_than_its_teller(address, narrowest, dialled):
    async with serving_host() as target, serving_host() as host:

        def lookup(_, port, *__):
            return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]

        host._dialler.resolver = Resolver(seconds=1.0, lookup=lookup)
        told = Hearsay(address.format(port=tcp_address(target)[1]), narrowest)
        if dialled:
            await host.exchange(target.peer_id, [told], model_frame())
        else:
            with pytest.raises(PeerUnreachable, match="narrower scope"):
                await host.exchange(target.peer_id, [told], model_frame())
            assert target.counters.connections_accepted == 0


@in_trio
async def test_a_service_that_is_no_peer_is_left_alone():
    """Hearsay of a local HTTP port made 39 connections to it in 15 s."""
    connections = 0

    async def http(stream):
        nonlocal connections
        connections += 1
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, http, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with serving_host() as host:
            for _ in range(50):
                claimed = Identity.generate().peer_id  # a new invention each time
                told = Hearsay(f"/ip4/127.0.0.1/tcp/{port}", Scope.LOOPBACK)
                with pytest.raises((ExchangeFailed, MessageRefused)):
                    await host.exchange(claimed, [told], model_frame())
            assert connections == 1
            with pytest.raises((ExchangeFailed, MessageRefused)):  # an operator may
                await host.exchange(PEER, [f"/ip4/127.0.0.1/tcp/{port}"], model_frame())
            assert connections == 2
        nursery.cancel_scope.cancel()


@in_trio
async def test_hearsay_of_another_identity_does_not_shut_a_peer_out():
    async with serving_host() as target, serving_host() as host:
        told = Hearsay(target.addresses[0].rpartition("/p2p/")[0], Scope.LOOPBACK)
        for _ in range(2):
            with pytest.raises(MessageRefused):
                await host.exchange(Identity.generate().peer_id, [told], model_frame())
        await host.exchange(target.peer_id, [told], model_frame())


@in_trio
async def test_a_tarpit_is_remembered():
    accepted = []

    async def tarpit(stream):
        accepted.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, tarpit, listeners)
        told = Hearsay(f"/ip4/127.0.0.1/tcp/{listeners[0].socket.getsockname()[1]}", Scope.LOOPBACK)
        async with serving_host(limits=limits(dial_seconds=0.3)) as host:
            for _ in range(3):
                with pytest.raises(PeerUnreachable):
                    await host.exchange(PEER, [told], model_frame())
            assert len(accepted) == 1
        nursery.cancel_scope.cancel()


def test_the_book_bounds_dials_per_address_and_in_all():
    book = DialBook(dials_per_second=2.0, dials_per_address=0.2)

    def dials(endpoint, now):
        try:
            book.admit(endpoint, now=now)
        except PeerUnreachable:
            return False
        return True

    assert [dials(("10.0.0.1", 1), 100.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert dials(("10.0.0.1", 1), 106.0)
    assert sum(dials((f"10.0.0.{i}", 1), 106.0) for i in range(2, 60)) == 7


def test_the_book_forgives_with_time_and_at_once_where_a_peer_answers():
    book, endpoint = DialBook(dials_per_second=100.0, dials_per_address=100.0), ("10.0.0.1", 1)
    pauses, now = [], 100.0
    for _ in range(12):
        book.failed(endpoint, now=now)
        pause = next(s for s in range(10_000) if _admits(book, endpoint, now + s))
        pauses.append(pause)
        now += pause
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == 3600
    book.succeeded(endpoint)
    assert _admits(book, endpoint, now)
    book.failed(endpoint, now=now)
    assert not _admits(book, endpoint, now + 4)
    assert _admits(book, endpoint, now + 5)


def test_the_book_is_bounded():
    book = DialBook(dials_per_second=1e6, dials_per_address=1.0)
    for i in range(10_000):
        book.admit((f"host{i}", 1), now=0.0)
    assert len(book._entries) == 4096


def _admits(book, endpoint, now):
    try:
        book.admit(endpoint, now=now)
    except PeerUnreachable:
        return False
    return True


@in_trio
async def test_a_host_dials_from_the_port_it_listens_at():
    async with serving_host() as host, serving_host() as other:
        source = tcp_address(host)
        connection = await host.services.dial(other.peer_id, other.addresses, DialManner(source=source))
        [seen] = other.connections.all()
        assert (seen.remote_endpoint.host, seen.remote_endpoint.port) == source
        assert connection.is_initiator
        await assert_serves(host)


@pytest.mark.parametrize("is_expected", [True, False])
@in_trio
async def test_of_two_that_dial_each_other_one_has_the_part_of_the_dialled(is_expected):
    other, claimed = Identity.generate(), Identity.generate()

    async def dial_too(socket):
        upgrader = Upgrader(identity=other, admit=lambda _: True)
        with suppress(ConnectionLost):
            await upgrader.secure(socket, remote_address="", expected_peer=host.peer_id)
            await trio.sleep_forever()

    async with serving_host() as host, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, dial_too, [listener])
        address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
        if is_expected:
            connection = await host.services.dial(other.peer_id, [address], DialManner(answers=True))
            assert not connection.is_initiator
            assert host.connected() == {other.peer_id}
        else:
            with pytest.raises(IdentityMismatch, match=other.peer_id):
                await host.services.dial(claimed.peer_id, [address], DialManner(answers=True))
            assert host.connected() == frozenset()
        nursery.cancel_scope.cancel()


@in_trio
async def test_a_port_that_is_listened_at_is_nobody_elses():
    async with serving_host() as host:
        port = tcp_address(host)[1]
        with pytest.raises(InvalidAddress, match="cannot listen at"):
            async with serving_host(listen=[f"/ip4/127.0.0.1/tcp/{port}"]):
                pass
