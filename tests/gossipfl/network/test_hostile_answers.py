"""Hostile peers that are dialled: what they answer, or do not."""

import struct
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from gossipfl.errors import (
    ChecksumMismatch,
    ExchangeFailed,
    ExchangeTimedOut,
    MalformedFrame,
    MessageTooLarge,
    ProtocolNotSpoken,
    RefusedByNeighbour,
)
from gossipfl.network import Identity
from gossipfl.network.noise.upgrade import Upgrader
from gossipfl.network.protocol import EXCHANGE_PROTOCOL
from gossipfl.network.yamux.headers import DATA, FIN, GO_AWAY, RST, SYN, WINDOW_UPDATE, frame_header
from gossipfl.wire import News, Progress, Refusal, View, encode

from .helpers import (
    TASK,
    Outlaw,
    assert_serves,
    frame_bytes,
    in_trio,
    limits,
    model_frame,
    serving_host,
    until,
)


def line(text):
    return bytes([len(text) + 1]) + text + b"\n"


GREETING = line(b"/multistream/1.0.0")
AGREED = GREETING + line(EXCHANGE_PROTOCOL.encode())


def data(content, *, flags=0):
    return frame_header(DATA, flags, 1, len(content)) + content


def preamble(kind, header_bytes, body_bytes):
    return struct.pack("<4sHHIIQ", b"GSFL", 4, kind, header_bytes, 0, body_bytes)


#: What it sends once a stream is opened, what the exchange ends with, and what else is counted as refused.
ANSWERS = {
    "no protocol, without end": (data(GREETING + line(b"na") * 1_000), ProtocolNotSpoken, None),
    "another protocol": (data(GREETING + line(b"/ipfs/id/1.0.0")), MalformedFrame, "malformed_frame"),
    "a line of 2^35 bytes": (data(GREETING + b"\xff\xff\xff\xff\x7f"), MessageTooLarge, "message_too_large"),
    "that it goes": (frame_header(GO_AWAY, 0, 0, 0), ExchangeFailed, None),
    "a reset": (frame_header(WINDOW_UPDATE, RST, 1, 0), ExchangeFailed, None),
    "9,000 streams": (
        b"".join(frame_header(WINDOW_UPDATE, SYN, 2 * number, 0) for number in range(1, 9_001)),
        ExchangeFailed,
        "stream_limit_exceeded",
    ),
    "a stream with this side's number": (
        frame_header(WINDOW_UPDATE, SYN, 1, 0),
        ExchangeFailed,
        "malformed_frame",
    ),
    "windows beyond 2^32": (
        frame_header(WINDOW_UPDATE, 0, 1, 2**32 - 1) * 2,
        ExchangeFailed,
        "malformed_frame",
    ),
    "data after the end": (data(AGREED, flags=FIN) + data(b"more"), ExchangeFailed, "malformed_frame"),
    "another Yamux": (b"\x09" + bytes(11), ExchangeFailed, "malformed_frame"),
    "a header of 4 GiB": (data(AGREED + preamble(1, 2**32 - 1, 0)), MessageTooLarge, "message_too_large"),
    "a header, and no more": (data(AGREED + preamble(1, 100, 2**63)), ExchangeTimedOut, None),
    "nothing": (b"", ExchangeTimedOut, None),
    "an unknown refusal": (
        data(AGREED + frame_bytes(encode(Refusal(code="x" * 64, text="a" * 300)))),
        RefusedByNeighbour,
        None,
    ),
    "a damaged model": (
        data(AGREED + frame_bytes(model_frame())[:-1] + b"\0"),
        ChecksumMismatch,
        "checksum_mismatch",
    ),
}


@asynccontextmanager
async def answering(content):
    """A peer that sends this to whoever opens a stream; give its identity and address."""
    liar = Identity.generate()

    async def accept(socket):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            upgrader = Upgrader(identity=liar, admit=lambda _: True)
            secured = await upgrader.secure(socket, remote_address="127.0.0.1", expected_peer=None)
            outlaw = Outlaw(secured)
            await outlaw.receive_plaintext()
            await outlaw.send(content)
            await outlaw.receive_all()

    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, accept, 0, host="127.0.0.1"))
        yield liar.peer_id, [f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answer", ANSWERS)
@in_trio
async def test_it_ends_that_exchange_by_name_and_nothing_else(answer):
    content, error, counter = ANSWERS[answer]
    seconds = 1.0 if error is ExchangeTimedOut else 20.0
    async with (
        serving_host(limits=limits(dial_seconds=10.0)) as host,
        answering(content) as (liar, addresses),
    ):
        with pytest.raises(error):
            await host.exchange(liar, addresses, model_frame(), seconds=seconds)
        assert set(host.counters.refused) == ({counter} if counter else set())
        if counter:
            await until(lambda: liar not in host.connected())
        await assert_serves(host)


@pytest.mark.parametrize("kind", ["view", "news", "progress"])
@in_trio
async def test_an_answer_to_another_question_is_refused(kind):
    """Without this, a model that nobody took would count as exchanged."""
    answers = {
        "view": encode(View(task=TASK, peers=())),
        "news": encode(News(known=bytes(32), statements=())),
        "progress": encode(
            Progress(task=TASK, agreement=bytes(32), incarnation=1, round=0, exchange=0, kept=True)
        ),
    }

    async def answer(peer_id, message):
        return answers[kind]

    async with serving_host(answer) as liar, serving_host() as host:
        with pytest.raises(MalformedFrame, match=f"out of place.*got {kind}"):
            await host.exchange(liar.peer_id, liar.addresses, model_frame())
        assert host.counters.refused["malformed_frame"] == 1
        await until(lambda: liar.peer_id not in host.connected())
