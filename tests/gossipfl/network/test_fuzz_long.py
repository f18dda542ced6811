"""Negotiations, handshakes, addresses, views and dials from mutated bytes, by the hundred thousand."""

import os
import random
import socket
from dataclasses import replace

import numpy as np
import psutil
import pytest
import trio

from gossipfl.errors import ExchangeFailed, GossipflError, InvalidAddress, MessageRefused
from gossipfl.network import Hearsay, Identity, Scope, parse_address
from gossipfl.network.dial_book import DialBook
from gossipfl.network.multistream import accept, propose
from gossipfl.network.noise.handshake import Handshake
from gossipfl.network.resolving import Resolver
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.settings import ViewSettings
from tests.gossipfl.fuzzing import MOST_GROWTH, Tape, many, mutated, outcome

from .helpers import announced, assert_serves, identity_of, limits, model_frame, serving_host

SCALE = float(os.environ.get("GOSSIPFL_FUZZ_SCALE", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


def test_negotiations():
    dice = random.Random(1)
    lines = (b"\x13/multistream/1.0.0\n", b"\x07/noise\n", b"\x0d/yamux/1.0.0\n", b"\x03na\n", b"\x03ls\n")

    def negotiate():
        data = mutated(dice, b"".join(dice.choice(lines) for _ in range(dice.randint(1, 40))))
        for work in (accept, propose):
            tape = Tape(data)
            outcome(work(tape, ("/noise",) if work is accept else "/noise"))
            assert tape.asked <= 256
            assert len(tape.sent) < 400

    many("negotiations", negotiate, int(200_000 * SCALE))


def test_handshakes_from_noise():
    dice = random.Random(2)
    side = Handshake(identity=identity_of("host"), admit=lambda _: True)

    def shake():
        message = dice.randbytes(dice.choice((0, 31, 32, 33, 96, 500)))
        data = len(message).to_bytes(2, "big") + message + mutated(dice, b"\x00\x40" + dice.randbytes(64))
        for expected in (None, "12D3KooW"):
            tape = Tape(data)
            try:
                found = outcome(side.run(tape, expected_peer=expected))
            except Exception as error:  # what the ciphers raise; the upgrade takes it as it takes all
                found = error
            assert isinstance(found, Exception)
            assert tape.asked <= 2048

    many("handshakes", shake, int(20_000 * SCALE))


def test_identities_that_are_no_ed25519_keys():
    """Payloads of a finished key exchange, each but the honest one refused."""
    dice, honest = random.Random(3), Handshake(identity=Identity.generate(), admit=lambda _: True)
    payload = honest._payload
    victim = Handshake(identity=identity_of("host"), admit=lambda _: True)
    accepted = 0

    class State:
        class rs:  # noqa: N801 - as the library names it
            public_bytes = None

    class Noise:
        noise_protocol = type("Protocol", (), {"handshake_state": State})

        def read_message(self, message):
            return message

    def prove():
        nonlocal accepted
        State.rs.public_bytes = dice.randbytes(32)
        try:
            victim._proven(Noise(), payload if dice.random() < 0.01 else mutated(dice, payload), None)
        except GossipflError:
            return
        except ValueError:  # no point of the curve
            return
        accepted += 1

    many("identities", prove, int(300_000 * SCALE))
    assert not accepted  # the signature is of another static key


def test_addresses():
    dice = random.Random(4)
    seeds = [
        *("/ip4/127.0.0.1/tcp/4001", "/ip6/fe80::1%eth0/tcp/1", "/dns4/peer.example.org/tcp/65535"),
        f"/dns/xn--bcher-kva.example/tcp/1/p2p/{identity_of('a').peer_id}",
    ]
    parsed = 0

    def parse():
        nonlocal parsed
        text = mutated(dice, dice.choice(seeds).encode()).decode("latin-1")
        try:
            address = parse_address(text)
        except InvalidAddress:
            return
        parsed += 1
        assert str(address) == text
        assert address.host.encode("idna")
        assert address.scope in Scope

    many("addresses", parse, int(1_000_000 * SCALE))
    assert parsed


def test_views():
    dice = random.Random(5)
    own = announced(identity_of("Me"), "/ip4/10.0.0.1/tcp/1", sequence=5)
    entries = [
        announced(identity_of(f"P{i}"), f"/ip4/10.0.0.{i}/tcp/{i + 1}", sequence=i % 3, age=i)
        for i in range(200)
    ]
    view = AddressBook(
        own=lambda: own, settings=ViewSettings(), generator=np.random.default_rng(0), bootstrap=[]
    )

    def learn():
        told = [
            replace(
                dice.choice(entries),
                **dice.choice(
                    (
                        {},
                        {"addresses": (mutated(dice, b"/dns4/peer.example/tcp/1").decode("latin-1"),)},
                        {"signature": dice.randbytes(64)},
                        {"sequence": dice.getrandbits(63)},
                        {"age": dice.getrandbits(63)},
                        {"peer_id": mutated(dice, own.peer_id.encode()).decode("latin-1")},
                    )
                ),
            )
            for _ in range(8)
        ]
        teller = dice.choice(entries).peer_id
        view.learn(told, teller=teller, scope=dice.choice(list(Scope)))
        if dice.random() < 0.5:
            view.failed(dice.choice(entries).peer_id, now=0.0)
        assert len(view) <= 30
        assert all(peer.descriptor in told or peer.addresses is not None for peer in view.known)

    many("views", learn, int(20_000 * SCALE))
    assert len(view)


def test_dials():
    """Whatever is told of where a peer is, and whatever a resolver answers, fails as that exchange alone."""
    dice = random.Random(6)
    hosts = (
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1%lo",
        "peer.example",
        "a..b",
        "a" * 64,
        "0.0.0.0",
        "::",
    )
    kinds, ports = ("ip4", "ip6", "dns", "dns4", "dns6"), ("1", "0", "9", "65535", "65536", "")
    answers = (
        *(
            OSError("no such name"),
            UnicodeError("label empty"),
            ValueError("null byte"),
            RuntimeError("any"),
            [],
        ),
        *([(socket.AF_INET, 1, 6, "", (host, 1))] for host in ("127.0.0.1", "not an address", "")),
        *([(socket.AF_INET6, 1, 6, "", (host, 1, 0, 0))] for host in ("::1", "fe80::1%none")),
        [()],
        [(socket.AF_INET, 1, 6, "", None)],
        None,
    )

    def lookup(*_):
        answer = dice.choice(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def told():
        text = f"/{dice.choice(kinds)}/{dice.choice(hosts)}/tcp/{dice.choice(ports)}"
        if dice.random() < 0.3:
            text = mutated(dice, text.encode()).decode("latin-1")
        return Hearsay(text, dice.choice(list(Scope))) if dice.random() < 0.8 else text

    async def dial(count):
        quick = limits(
            dial_seconds=0.2,
            resolve_seconds=0.2,
            idle_seconds=4.0,  # what is kept for a peer is forgotten soon
            dials_per_second=1e9,
            dials_per_address=1e9,
        )
        process, dialled, began = psutil.Process(), 0, trio.current_time()
        async with serving_host(limits=quick) as host:
            host._dialler.resolver = Resolver(seconds=0.2, lookup=lookup)
            for number in range(count):
                if number == count // 10:
                    before = process.memory_info().rss
                host._dialler.book = DialBook(dials_per_second=1e9, dials_per_address=1e9)
                peer_id = Identity(dice.randbytes(32)).peer_id
                try:
                    await host.exchange(peer_id, [told() for _ in range(3)], model_frame(), seconds=2.0)
                except (ExchangeFailed, MessageRefused):
                    dialled += 1
            await assert_serves(host)
        growth = process.memory_info().rss - before
        print(f"{count:,} dials in {trio.current_time() - began:.0f} s, {growth / 1e6:+.1f} MB")
        assert dialled == count
        assert growth < MOST_GROWTH

    trio.run(dial, int(20_000 * SCALE))
