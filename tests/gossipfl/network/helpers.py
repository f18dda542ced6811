"""Hosts on 127.0.0.1, frames to exchange, and peers that misbehave below the level of frames."""

import functools
import hashlib
from contextlib import asynccontextmanager
from dataclasses import replace

import torch
import trio

from gossipfl.codecs import codec
from gossipfl.network import Identity, NetworkLimits, open_host
from gossipfl.network.noise.upgrade import Upgrader
from gossipfl.network.protocol import EXCHANGE_PROTOCOL
from gossipfl.network.yamux.headers import FRAME_HEADER, SYN, WINDOW_UPDATE, frame_header
from gossipfl.wire import Acknowledgement, Expectation, announce, encode, encode_model

#: Bytes that mean nothing in any of the library's protocols.
NONSENSE = {
    "nothing": b"",
    "garbage": b"\xff" * 200,
    "a length of 2⁴⁰": b"\x80\x80\x80\x80\x80\x20" + bytes(5_000),
    "zeros": bytes(2_000),
}

FLOAT32 = codec("float32")
TASK, LAYOUT = b"t" * 32, b"l" * 32
SMALL = 1_000  # numbers in a row


def in_trio(test):
    """Run an async test; one that hangs fails."""

    @functools.wraps(test)
    def run(*arguments, **keywords):
        async def main():
            with trio.fail_after(600):
                await test(*arguments, **keywords)

        trio.run(main)

    return run


def expectation(size=SMALL, task=TASK):
    return Expectation(task=task, layout=LAYOUT, size=size, codecs=(FLOAT32,))


def model_frame(size=SMALL, *, sequence=1, task=TASK, value=1.0):
    return encode_model(
        torch.full((size,), value),
        codec=FLOAT32,
        task=task,
        layout=LAYOUT,
        age=1,
        incarnation=1,
        sequence=sequence,
        event=1,
    )


def identity_of(name):
    """The identity of a name, always the same."""
    return Identity(hashlib.sha256(name.encode()).digest())


def announced(identity, *addresses, sequence=1, age=0):
    """What a peer says of where it is."""
    descriptor = announce(identity.peer_id, addresses, sequence=sequence, sign=identity.sign)
    return replace(descriptor, age=age)


def frame_bytes(frame):
    return b"".join(frame.buffers)


async def acknowledge(peer_id, message):
    return encode(Acknowledgement(incarnation=message.header.incarnation, sequence=message.header.sequence))


@asynccontextmanager
async def serving_host(handler=acknowledge, *, size=SMALL, screen=None, **options):
    identity = options.pop("identity", None) or Identity.generate()
    async with open_host(identity, expectation=expectation(size), **options) as host:
        if handler is not None:
            host.serve(handler, screen=screen)
        yield host


def limits(**changes):
    return NetworkLimits(**changes)


async def until(condition, *, seconds=180.0):
    """Wait for a condition; fail if it does not come true."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)


def tcp_address(host):
    _, _, ip, _, port, _, _ = host.addresses[0].split("/")
    return ip, int(port)


async def assert_serves(host):
    """An honest newcomer is answered."""
    async with serving_host() as newcomer:
        reply = await newcomer.exchange(host.peer_id, host.addresses, model_frame(), seconds=20)
        assert isinstance(reply, Acknowledgement)


def varint(number):
    """Unsigned LEB128."""
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + varint(number >> 7)


class Outlaw:
    """A peer with an identity that then sends whatever it likes."""

    def __init__(self, secured):
        self.secured = secured
        self._received = b""

    @classmethod
    @asynccontextmanager
    async def connected_to(cls, host, identity=None, *, key=None, source=None, threshold=None):
        """Connect; with a `key` of its own instead of the identity's, as bytes of a protobuf."""
        identity = identity or Identity.generate()
        upgrader = Upgrader(identity=identity, admit=lambda _: True, threshold=threshold)
        if key is not None:
            payload = upgrader._handshake._payload
            upgrader._handshake._payload = b"\x0a" + varint(len(key)) + key + payload[38:]
        socket = await trio.open_tcp_stream(*tcp_address(host), local_address=source)
        async with socket:
            secured = await upgrader.secure(socket, remote_address="", expected_peer=host.peer_id)
            outlaw = cls(secured)
            outlaw.peer_id = identity.peer_id
            yield outlaw

    async def send(self, *pieces):
        """Send plaintext inside Noise."""
        plaintext = b"".join(pieces)
        buffer = memoryview(bytearray(self.secured.sealer.sealed_size([plaintext])))
        await self.secured.socket.send_all(buffer[: self.secured.sealer.seal([plaintext], buffer)])

    async def send_records(self, *plaintexts):
        """Send each plaintext, which may be empty, in a record of its own."""
        sealer, records = self.secured.sealer, bytearray()
        for each in plaintexts:
            record = memoryview(bytearray(18 + len(each)))
            sealer._seal_one(each, record, 0)
            records += record
        await self.secured.socket.send_all(records)

    async def open_stream(self, stream_id=1, protocol=EXCHANGE_PROTOCOL):
        """Open a stream and agree on exchanges, or on another protocol."""
        await self.send(frame_header(WINDOW_UPDATE, SYN, stream_id, 0))
        lines = (b"/multistream/1.0.0\n", protocol.encode() + b"\n")
        await self.send_data(b"".join(bytes([len(line)]) + line for line in lines), stream_id)

    async def send_data(self, data, stream_id=1):
        await self.send(frame_header(0, 0, stream_id, len(data)), data)

    async def receive_plaintext(self):
        """Return the next record's plaintext, or None once the host closed the connection."""
        opener = self.secured.opener
        while (size := opener.find(memoryview(self._received), 0)) is None:
            try:
                data = await self.secured.socket.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._received += data
        out = memoryview(bytearray(size))
        count = opener.open(memoryview(self._received), 0, size, out)
        self._received = self._received[opener.end(0, size) :]
        return bytes(out[:count])

    async def receive_all(self):
        """Return all plaintext until the host closes the connection."""
        plaintext = b""
        while (piece := await self.receive_plaintext()) is not None:
            plaintext += piece
        return plaintext

    async def receive_until(self, expected):
        """Return the plaintext up to the first that contains `expected`."""
        plaintext = b""
        while expected not in plaintext:
            piece = await self.receive_plaintext()
            assert piece is not None, f"the host closed the connection after {plaintext!r}"
            plaintext += piece
        return plaintext


def frames_in(plaintext):
    """Yield (kind, flags, stream id, length, payload) of whole Yamux frames."""
    while plaintext:
        _, kind, flags, stream_id, length = FRAME_HEADER.unpack(plaintext[: FRAME_HEADER.size])
        body = length if kind == 0 else 0
        yield kind, flags, stream_id, length, plaintext[FRAME_HEADER.size : FRAME_HEADER.size + body]
        plaintext = plaintext[FRAME_HEADER.size + body :]
