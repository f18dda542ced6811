"""Hostile inputs to a running peer: each line of ``docs/security-table.md``, as a program."""

import random
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import msgpack
import psutil
import trio

from gossipfl import errors
from gossipfl.network import Identity, SenderRates
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.identify import IDENTIFY_PROTOCOL, PUSH_PROTOCOL
from gossipfl.network.pinging import PING_PROTOCOL
from gossipfl.network.yamux.headers import ACK, DATA, FIN, PING, RST, SYN, WINDOW_UPDATE, frame_header
from gossipfl.wire import View, encode
from tests.gossipfl.network.helpers import (
    Outlaw,
    announced,
    frame_bytes,
    frames_in,
    identity_of,
    serving_host,
    until,
)
from tests.gossipfl.wire.frames import forged, sealed
from tests.gossipfl.wire.test_round_messages import forged_progress, forged_round

from .hostile import (
    CASES,
    CLOSED,
    NEVER_CONNECTED,
    TOLD,
    TOLD_AND_CLOSED,
    TOLD_IN_STEP,
    Target,
    bad_frame,
    case,
)

__all__ = ["CASES"]

# Before anybody has proved who they are


@case("random bytes instead of a handshake", errors.IdentityMismatch, NEVER_CONNECTED)
async def _(target: Target) -> None:
    dice = random.Random(1)
    for _ in range(2):
        async with await trio.open_tcp_stream("127.0.0.1", target.port) as socket:
            with suppress(trio.BrokenResourceError):
                await socket.send_all(dice.randbytes(300))
                while await socket.receive_some():
                    pass


@case("a handshake that drips (slow loris)", errors.IdentityMismatch, NEVER_CONNECTED)
async def _(target: Target) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", target.port) as socket:
        with suppress(trio.BrokenResourceError):
            for byte in b"\x13/multistream/1.0.0\n\x07/noise\n":
                await socket.send_all(bytes([byte]))
                await trio.sleep(0.1)
            while await socket.receive_some():
                pass


@case("a dialler that offers only plaintext", errors.IdentityMismatch, NEVER_CONNECTED)
async def _(target: Target) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", target.port) as socket:
        await socket.send_all(b"\x13/multistream/1.0.0\n\x11/plaintext/2.0.0\n")
        received = b""
        while piece := await socket.receive_some():
            received += piece
        assert b"na\n" in received


@case("a listener that is not who it is said to be", errors.IdentityMismatch, NEVER_CONNECTED)
async def _(target: Target) -> None:
    async with serving_host() as liar:
        victim = Identity.generate()
        claimed = victim.peer_id
        address = liar.addresses[0].rpartition("/p2p/")[0]
        view = View(task=target.task.fingerprint, peers=(announced(victim, address),))
        async with target.outlaw(victim) as outlaw:
            await outlaw.send_data(frame_bytes(encode(view)))
            await until(lambda: target.peer.counters.messages_received == 1)
        await until(lambda: target.refused["identity_mismatch"])
        assert claimed not in target.peer._incarnation.host.connected()


@case("an identity that is an RSA private key", errors.IdentityMismatch, NEVER_CONNECTED)
async def _(target: Target) -> None:
    """Deserialising it would test numbers of 15,000 bits for primality: seconds of the event loop."""
    process = psutil.Process()
    for key in (bytes.fromhex("0800 12 8010") + random.Random(4).randbytes(1_500), b"", b"\x08\x01\x12\x20"):
        stranger = Identity.generate()
        before = process.cpu_times().user
        with suppress(trio.BrokenResourceError, ConnectionLost):
            async with Outlaw.connected_to(target.host, stranger, key=key) as outlaw:
                await outlaw.receive_all()
        assert process.cpu_times().user - before < 0.5
        assert stranger.peer_id not in target.peer._incarnation.host.connected()


@case("a handshake message of 65,535 bytes", errors.IdentityMismatch, NEVER_CONNECTED)
async def _(target: Target) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", target.port) as socket:
        await socket.send_all(b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff" + bytes(2_000))
        with suppress(trio.BrokenResourceError):
            while await socket.receive_some():
                pass


@case("1,000 connections from one address", errors.ConnectionRefusedByPolicy, NEVER_CONNECTED)
async def _(target: Target) -> None:
    sockets = []
    for _ in range(1_000):
        sockets.append(await trio.open_tcp_stream("127.0.0.1", target.port, local_address="127.0.0.9"))
        if len(sockets) > 200:  # more descriptors than that are not the attacker's to waste
            await trio.aclose_forcefully(sockets.pop(0))
    await until(lambda: target.refused["connection_refused_by_policy"] > 700)
    await target.accept()  # while the flood has all the places it can get
    for socket in sockets:
        await trio.aclose_forcefully(socket)


# Below the level of frames


@case("random bytes inside the connection", errors.MalformedFrame, CLOSED)
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.send(b"\x07" + random.Random(2).randbytes(4_000))
        await outlaw.receive_all()


@case("data beyond the receive window", errors.WindowOverrun, CLOSED)
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await outlaw.send(frame_header(DATA, 0, 1, 2**31), bytes(4_000))
            await outlaw.receive_all()


@case("more streams than a connection may have", errors.StreamLimitExceeded, "surplus streams reset")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.send(*(frame_header(WINDOW_UPDATE, SYN, 2 * i + 1, 0) for i in range(36)))
        await until(lambda: target.refused["stream_limit_exceeded"] == 4)


USELESS = {
    "empty records without end": b"",
    "window updates by nothing without end": frame_header(WINDOW_UPDATE, 0, 1, 0),
    "empty data frames without end": frame_header(DATA, 0, 1, 0),
    "pings without end": frame_header(PING, SYN, 0, 0),
    "streams opened and reset in small bursts": b"",
    "streams opened and ended in small bursts": b"",
    "window updates by 1 without end": frame_header(WINDOW_UPDATE, 0, 1, 1) * 10,
    "window updates of streams that do not exist": frame_header(WINDOW_UPDATE, 0, 99, 1) * 10,
    "the end of a stream again and again": frame_header(WINDOW_UPDATE, FIN, 1, 0) * 10,
    "acknowledgements of streams without end": frame_header(WINDOW_UPDATE, ACK, 99, 0) * 10,
    "records of one byte without end": b"",
}


def useless(what: str, frame: bytes) -> None:
    @case(what, errors.UselessTraffic, CLOSED)
    async def _(target: Target) -> None:
        async with target.outlaw() as outlaw:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for burst in range(2_000):
                    stream = 2 * burst + 3
                    ends = RST if "reset" in what else FIN
                    opened = frame_header(WINDOW_UPDATE, SYN, stream, 0) + frame_header(
                        WINDOW_UPDATE, ends, stream, 0
                    )
                    if what.startswith("empty records"):
                        await outlaw.send_records(*[b""] * 10)
                    elif what.startswith("records of one byte"):
                        update = frame_header(WINDOW_UPDATE, 0, 1, 1)
                        await outlaw.send_records(*(bytes([each]) for each in update))
                    else:
                        await outlaw.send(frame * 10 or opened)
            await outlaw.receive_all()


for _what, _frame in USELESS.items():
    useless(_what, _frame)


@case("9,000 streams at once", errors.StreamLimitExceeded, CLOSED)
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.send(*(frame_header(WINDOW_UPDATE, SYN, 2 * i + 1, 0) for i in range(9_000)))
        await outlaw.receive_all()


@case("protocol names of 2⁴⁰ bytes on all streams", errors.MessageTooLarge, CLOSED)
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        line = b"\x13/multistream/1.0.0\n" + b"\x80\x80\x80\x80\x80\x20" + bytes(1_000)
        await outlaw.send(*(frame_header(DATA, SYN, 2 * i + 1, len(line)) + line for i in range(16)))
        await outlaw.receive_all()


@case("10,000 protocol proposals", errors.MalformedFrame, CLOSED)
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        proposals = b"\x13/multistream/1.0.0\n" + b"\x08/no/1.0\n" * 10_000
        await outlaw.send(frame_header(WINDOW_UPDATE, SYN, 1, 0))
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await outlaw.send_data(proposals)
        await outlaw.receive_all()


@case("streams opened and abandoned", None, "reset when their deadline is over")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.send(*(frame_header(WINDOW_UPDATE, SYN, 2 * i + 1, 0) for i in range(10)))
        [connection] = target.peer._incarnation.host._table.all()
        await until(lambda: len(connection.multiplexer.streams) == 10)
        await until(lambda: not connection.multiplexer.streams)


# Services of libp2p


@case("pings of libp2p without end", None, "held back: sixteen a second are answered")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.open_stream(1, PING_PROTOCOL)
        await outlaw.send_data(bytes(32 * 200))
        answered = 0
        with trio.move_on_after(1):
            while piece := await outlaw.receive_plaintext():
                answered += sum(len(data) for kind, *_, data in frames_in(piece) if kind == DATA) // 32
        assert 16 < answered < 100


@case("a service of libp2p asked for too often", errors.RateLimited, "surplus streams reset")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        for stream_id in range(1, 40, 2):
            await outlaw.open_stream(stream_id, IDENTIFY_PROTOCOL)
            await outlaw.send(frame_header(WINDOW_UPDATE, FIN, stream_id, 0))
        await until(lambda: target.refused["rate_limited"] > 10)


@case("an identification of 2 MiB, pushed", errors.MessageTooLarge, CLOSED)
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.open_stream(1, PUSH_PROTOCOL)
        await outlaw.send_data(b"\xff\xff\x7f" + bytes(1_000))
        await outlaw.receive_all()


# Frames


@case("a frame cut short", errors.TruncatedFrame, TOLD)
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        await outlaw.send_data(target.frame()[:-1])
        await outlaw.send(frame_header(DATA, FIN, 1, 0))
        await until(lambda: target.refused["truncated_frame"])
        await outlaw.open_stream(3)
        await outlaw.send_data(target.frame()[:40], 3)
        await outlaw.send(frame_header(DATA, FIN, 3, 0))
        await until(lambda: target.refused["truncated_frame"] == 2)


@case("a frame that drips (slow loris)", errors.ExchangeTimedOut, "stream reset when its deadline is over")
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        with trio.move_on_after(20):
            for byte in target.frame():
                if target.refused["exchange_timed_out"]:
                    break
                await outlaw.send_data(bytes([byte]))
                await trio.sleep(0.05)


@case("a replayed frame", errors.ReplayedMessage, TOLD)
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        await outlaw.send_data(target.frame(sequence=8))
        await until(lambda: target.peer._incarnation.learner.state.event == target.before.event + 1)
        target.before = target.peer._incarnation.learner.state
        await outlaw.send_data(target.frame(sequence=7))
        await outlaw.receive_until(b"replayed_message")


@case("the same frame again and again", None, "answered each time, and merged once")
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        await outlaw.send_data(target.frame() * 5)
        await until(lambda: target.peer.counters.messages_sent == 5)
        await until(lambda: target.peer._incarnation.learner.state.event == target.before.event + 1)
        target.before = target.peer._incarnation.learner.state


@asynccontextmanager
async def strict_rates(peer):
    """Let a peer take no more than a model a second from each sender, for a while."""
    guard = peer._incarnation.participation.screen.__self__
    guard._models, rates = SenderRates(1.0, what="models"), guard._models
    try:
        yield
    finally:
        guard._models = rates


@case("models without end, each a valid one", errors.RateLimited, TOLD)
async def _(target: Target) -> None:
    """One identity could make a peer merge 192 of them a second."""
    async with strict_rates(target.peer), target.outlaw() as outlaw:
        await outlaw.send_data(b"".join(target.frame(sequence=number) for number in range(1, 60)))
        await outlaw.receive_until(b"rate_limited")
        learner = target.peer._incarnation.learner
        assert target.peer.counters.messages_received <= 17
        await until(lambda: learner.state.event > target.before.event and not learner.kept_bytes)
        target.before = learner.state


bad_frame(
    "random bytes instead of a frame",
    errors.MalformedFrame,
    TOLD_AND_CLOSED,
    lambda target: random.Random(3).randbytes(2_000),
)
bad_frame(
    "a header length of 4 GiB",
    errors.MessageTooLarge,
    TOLD_AND_CLOSED,
    lambda target: target.frame(preamble={"header_bytes": 2**32 - 1}),
)
bad_frame(
    "a body length of 2⁶³ bytes",
    errors.MessageTooLarge,
    TOLD_AND_CLOSED,
    lambda target: target.frame(preamble={"body_bytes": 2**63}),
)
bad_frame(
    "an array of 4 billion entries in the header",
    errors.MessageTooLarge,
    TOLD_AND_CLOSED,
    lambda target: sealed(b"\xdd" + struct.pack(">I", 2**32 - 1)),
)
bad_frame(
    "1,000 tensors",
    errors.MessageTooLarge,
    TOLD_AND_CLOSED,
    lambda target: target.frame(tensors=[["row", "float32-le", [1]]] * 1_000),
)
bad_frame(
    "a tensor of 2⁶⁰ numbers",
    errors.UnexpectedTensor,
    TOLD_AND_CLOSED,
    lambda target: target.frame(tensors=[["row", "float32-le", [2**60]]]),
)
bad_frame(
    "a tensor of another dtype",
    errors.UnexpectedTensor,
    TOLD_AND_CLOSED,
    lambda target: target.frame(tensors=[["row", "int64-le", [target.task.layout.shared_size]]]),
)
bad_frame(
    "a tensor of another shape",
    errors.UnexpectedTensor,
    TOLD_AND_CLOSED,
    lambda target: target.frame(body=target.body()[:-4]),
)
bad_frame(
    "a header that is no map",
    errors.MalformedFrame,
    TOLD_AND_CLOSED,
    lambda target: sealed(msgpack.packb([1, 2, 3])),
)
bad_frame(
    "a body that is not what its checksum says",
    errors.ChecksumMismatch,
    TOLD_AND_CLOSED,
    lambda target: target.frame()[:-1] + bytes([target.frame()[-1] ^ 1]),
)
for _name, _value in (("NaN", float("nan")), ("infinity", float("inf"))):
    bad_frame(
        f"a row that holds {_name}",
        errors.NonFiniteUpdate,
        TOLD_IN_STEP,
        lambda target, value=_value: target.frame(body=target.body()[:-4] + struct.pack("<f", value)),
    )
bad_frame(
    "a model of another task",
    errors.IncompatibleTask,
    TOLD,
    lambda target: target.frame(task=b"o" * 32),
)
bad_frame(
    "a view of another task",
    errors.IncompatibleTask,
    TOLD,
    lambda target: frame_bytes(encode(View(task=b"o" * 32, peers=()))),
)
bad_frame(
    "a model of another layout",
    errors.IncompatibleModel,
    TOLD,
    lambda target: target.frame(layout=b"o" * 32),
)
bad_frame("an unknown codec", errors.UnknownCodec, TOLD, lambda target: target.frame(codec="zip"))
bad_frame(
    "an unknown protocol version",
    errors.UnsupportedVersion,
    TOLD,
    lambda target: target.frame(preamble={"version": 999}),
)
bad_frame("an age nobody can reach", errors.ImplausibleAge, TOLD, lambda target: target.frame(age=2**62))


@case("more messages than one's share", errors.RateLimited, TOLD)
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        frame = frame_bytes(encode(View(task=target.task.fingerprint, peers=())))
        with suppress(trio.BrokenResourceError):
            await outlaw.send_data(frame * 400)
        await until(lambda: target.refused["rate_limited"])


@case("a view of 64 peers that do not exist", None, "not read: nobody asked for it")
async def _(target: Target) -> None:
    inventions = tuple(announced(Identity.generate(), f"/ip4/127.0.0.1/tcp/{i + 1}") for i in range(64))
    async with target.outlaw() as outlaw:
        for _ in range(5):
            await outlaw.send_data(frame_bytes(encode(View(task=target.task.fingerprint, peers=inventions))))
        await until(lambda: target.peer.counters.messages_received == 5)
        assert not len(target.peer._incarnation.view)


@case("an announcement of addresses that nobody can dial", None, "it is skipped, with a line in the log")
async def _(target: Target) -> None:
    """One of these ended the process at each dial, and again after each restart."""
    wrong = ("/dns4/a..b/tcp/1", "/ip6/fe80::1%a..b/tcp/1", "/ip4/127.0.0.1/tcp/0", "/unix/etc/passwd")
    for count, address in enumerate(wrong, start=1):
        identity = Identity.generate()
        async with target.outlaw(identity) as outlaw:
            view = View(task=target.task.fingerprint, peers=(announced(identity, address),))
            await outlaw.send_data(frame_bytes(encode(view)))
            await until(lambda: target.peer.counters.messages_received == count)  # noqa: B023
            assert not len(target.peer._incarnation.view)


@case(
    "a view that moves a peer that did not move", None, "the entry is skipped: it is not signed by that peer"
)
async def _(target: Target) -> None:
    friend = identity_of("friend")
    true = announced(friend, "/ip4/127.0.0.1/tcp/9", sequence=5)
    forgeries = (
        replace(true, addresses=("/ip4/127.0.0.1/tcp/10",), sequence=6),
        replace(announced(Identity.generate(), "/ip4/127.0.0.1/tcp/10", sequence=7), peer_id=friend.peer_id),
        announced(friend, "/ip4/127.0.0.1/tcp/11", sequence=4),  # what it said earlier
    )
    async with target.outlaw(friend) as outlaw:
        for number, peer in enumerate((true, *forgeries), start=1):
            view = View(task=target.task.fingerprint, peers=(peer,))
            await outlaw.send_data(frame_bytes(encode(view)))
            await until(lambda: target.peer.counters.messages_received == number)  # noqa: B023
            known = target.peer._incarnation.view.book.get(friend.peer_id)
            assert known.descriptor.addresses == true.addresses


# Learning in rounds: the attacker is a member of the roster unless said otherwise


def bad_row(what: str, error: type[errors.GossipflError], consequence: str, **changes) -> None:
    bad_frame(what, error, consequence, lambda target: target.frame(**changes), in_rounds=True)


bad_frame(
    "a row of a round, to a peer that gossips",
    errors.IncompatibleRounds,
    TOLD,
    lambda target: forged_round(
        target.body(), task=target.task.fingerprint, layout=target.task.layout.digest
    ),
)
bad_frame(
    "a gossiped model, to a peer in rounds",
    errors.IncompatibleRounds,
    TOLD,
    lambda target: forged(
        target.body(), task=target.task.fingerprint, layout=target.task.layout.digest, age=1
    ),
    in_rounds=True,
)
bad_row("a row of rounds with another roster", errors.IncompatibleRounds, TOLD, agreement=b"o" * 32)
bad_row("a row of a round that nobody can reach", errors.UnexpectedRound, TOLD, round=2**62)
bad_row("a row of an exchange that a round has not", errors.UnexpectedRound, TOLD, exchange=1)
bad_row("a row of a round far ahead", errors.PeerBusy, TOLD, round=1_000)
bad_row("a row of a round with another size", errors.UnexpectedTensor, TOLD_AND_CLOSED, body=b"1234")
bad_frame(
    "a row of a round that holds NaN",
    errors.NonFiniteUpdate,
    TOLD_IN_STEP,
    lambda target: target.frame(body=target.body()[:-4] + struct.pack("<f", float("nan"))),
    in_rounds=True,
)
bad_frame(
    "a progress that nobody can have made",
    errors.UnexpectedRound,
    TOLD,
    lambda target: forged_progress(
        task=target.task.fingerprint, agreement=target.agreement, round=2**62, kept=False
    ),
    in_rounds=True,
)


@case("two rows for one round", errors.ReplayedMessage, TOLD, in_rounds=True)
async def _(target: Target) -> None:
    async with target.outlaw() as outlaw:
        await outlaw.send_data(target.frame(round=1) + target.frame(round=1, body=target.body(7.0)))
        await outlaw.receive_until(b"replayed_message")


@case("somebody who is not in the roster", errors.NotAllowed, NEVER_CONNECTED, in_rounds=True)
async def _(target: Target) -> None:
    with suppress(trio.BrokenResourceError, ConnectionLost):
        async with Outlaw.connected_to(target.host, Identity.generate()) as stranger:
            await stranger.receive_all()
