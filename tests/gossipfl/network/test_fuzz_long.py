"""Negotiations, handshakes, addresses and views from mutated bytes, by the hundred thousand."""

import os
import random
from dataclasses import replace

import numpy as np
import psutil
import pytest

from gossipfl.errors import GossipflError, InvalidAddress
from gossipfl.network import Identity, Scope, parse_address
from gossipfl.network.multistream import accept, propose
from gossipfl.network.noise.handshake import Handshake
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.settings import ViewSettings

from .helpers import announced, identity_of

SCALE = float(os.environ.get("GOSSIPFL_FUZZ_SCALE", "1"))
MOST_GROWTH = 16_000_000  # bytes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


class Ended(Exception):
    """The other side sends no more."""


class Tape:
    """A channel of bytes that are all there, and that notes how much is asked for at a time."""

    def __init__(self, data):
        self._data, self._position, self.asked, self.sent = data, 0, 0, b""

    async def read_exactly(self, size):
        self.asked = max(self.asked, size)
        piece = self._data[self._position : self._position + size]
        self._position += size
        if len(piece) < size:
            raise Ended
        return piece

    async def write(self, data):
        self.sent += data


def outcome(work):
    """Run a coroutine that waits for nothing; what it returns, or the error that it may raise."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    except (GossipflError, Ended) as error:
        return error
    raise AssertionError("it waits for something")


def mutated(dice, data):
    data = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.randint(0, 4))
        data[start:end] = dice.choice((b"", dice.randbytes(dice.randint(1, 4)), data[start:end] * 2))
    return bytes(data)


def growth_of(work, count):
    process = psutil.Process()
    for number in range(count):
        if number == count // 10:
            before = process.memory_info().rss
        work()
    return process.memory_info().rss - before


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

    assert growth_of(negotiate, int(200_000 * SCALE)) < MOST_GROWTH


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

    assert growth_of(shake, int(20_000 * SCALE)) < MOST_GROWTH


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

    for number in range(int(300_000 * SCALE)):
        State.rs.public_bytes = dice.randbytes(32)
        try:
            victim._proven(Noise(), payload if number % 100 == 0 else mutated(dice, payload), None)
        except GossipflError:
            continue
        except ValueError:  # no point of the curve
            continue
        accepted += 1
    assert not accepted  # the signature is of another static key


def test_addresses():
    dice = random.Random(4)
    seeds = [
        *("/ip4/127.0.0.1/tcp/4001", "/ip6/fe80::1%eth0/tcp/1", "/dns4/peer.example.org/tcp/65535"),
        f"/dns/xn--bcher-kva.example/tcp/1/p2p/{identity_of('a').peer_id}",
    ]
    parsed = 0
    for _ in range(int(1_000_000 * SCALE)):
        text = mutated(dice, dice.choice(seeds).encode()).decode("latin-1")
        try:
            address = parse_address(text)
        except InvalidAddress:
            continue
        parsed += 1
        assert str(address) == text
        assert address.host.encode("idna")
        assert address.scope in Scope
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

    assert growth_of(learn, int(20_000 * SCALE)) < MOST_GROWTH
    assert len(view)
