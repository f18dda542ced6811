"""Hostile inputs to what peers offer beside models: pulls, parts, dialling back, measuring,
estimates and statistics."""

import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from gossipfl import errors
from gossipfl.network import Identity
from gossipfl.network.bandwidth import BANDWIDTH_PROTOCOL, MOST_BYTES
from gossipfl.network.dial_back import DIAL_BACK_PROTOCOL, MOST_PORTS
from gossipfl.network.yamux.headers import DATA, FIN, RST, WINDOW_UPDATE, frame_header
from gossipfl.peer.estimates.gossip import ESTIMATES_PROTOCOL
from gossipfl.peer.statistics.collection import Summaries
from gossipfl.peer.statistics.gathering import STATISTICS_PROTOCOL, Gathering
from gossipfl.statistics import CategorySummary, NumberSummary, Summary
from gossipfl.wire import Pull, encode
from gossipfl.wire.reports import REPORT_BYTES, SKETCH_WIDTH
from gossipfl.wire.summaries import PLACE_BYTES
from tests.gossipfl.network.helpers import Outlaw, frame_bytes, frames_in, until
from tests.gossipfl.peer.estimates.test_estimates import report_of
from tests.gossipfl.statistics.tables import SCHEMA, row, told
from tests.gossipfl.wire.frames import numbers
from tests.gossipfl.wire.test_summaries import signed

from .hostile import CLOSED, TOLD, TOLD_AND_CLOSED, TOLD_IN_STEP, PartsTarget, Target, bad_frame, case
from .hostile_inputs import strict_rates

SURPLUS_RESET = "surplus streams reset"

# Pulls


def pull(target: Target, **changes) -> bytes:
    said = {"task": target.task.fingerprint, "layout": target.task.layout.digest, "incarnation": 1}
    return frame_bytes(encode(Pull(**{**said, **changes})))


@case("pulls without end", errors.RateLimited, TOLD)
async def _(target: Target) -> None:
    sent = target.peer.counters.messages_sent
    async with strict_rates(target.peer), target.outlaw() as outlaw:
        await outlaw.send_data(pull(target) * 60)
        await outlaw.receive_until(b"rate_limited")
        assert target.peer.counters.messages_sent <= sent + 17


bad_frame(
    "a pull of another task", errors.IncompatibleTask, TOLD, lambda target: pull(target, task=b"o" * 32)
)
bad_frame(
    "a pull of another layout", errors.IncompatibleModel, TOLD, lambda target: pull(target, layout=b"o" * 32)
)
bad_frame(
    "a pull of a part, at a peer with whole models",
    errors.IncompatibleModel,
    TOLD,
    lambda target: pull(target, part=1),
)
bad_frame("a pull, to a peer in rounds", errors.IncompatibleRounds, TOLD, pull, in_rounds=True)

# Parts of models

bad_frame(
    "a part of a model, at a peer with whole models",
    errors.IncompatibleModel,
    TOLD,
    lambda target: PartsTarget(target.peer).frame(),
)


def bad_part(what: str, error: type[errors.GossipflError], consequence: str, make) -> None:
    bad_frame(what, error, consequence, make, in_parts=True)


bad_part(
    "a whole model, at a peer with parts",
    errors.IncompatibleModel,
    TOLD,
    lambda target: Target(target.peer).frame(layout=target.layout),
)
bad_part(
    "a part of a number out of range",
    errors.IncompatibleModel,
    TOLD,
    lambda target: target.frame(part=target.parts),
)
bad_part(
    "a pull of a part of a number out of range",
    errors.IncompatibleModel,
    TOLD,
    lambda target: pull(target, layout=target.layout, part=2**62),
)
bad_part(
    "a part as long as a whole model",
    errors.UnexpectedTensor,
    TOLD_AND_CLOSED,
    lambda target: target.frame(body=target.body()),
)
bad_part(
    "a part as long as another part",
    errors.UnexpectedTensor,
    TOLD_AND_CLOSED,
    lambda target: target.frame(part=3, body=target.part(0)),
)
bad_part(
    "a part with fewer ages than there are parts",
    errors.MalformedFrame,
    TOLD_AND_CLOSED,
    lambda target: target.frame(ages=[1]),
)
bad_part(
    "a part with an age that none of its ages is",
    errors.MalformedFrame,
    TOLD_AND_CLOSED,
    lambda target: target.frame(age=2),
)
bad_part(
    "a part that holds NaN",
    errors.NonFiniteUpdate,
    TOLD_IN_STEP,
    lambda target: target.frame(body=target.part(0)[:-4] + numbers(float("nan"))),
)

# Services: each stream begins with a request


async def ask(outlaw: Outlaw, protocol: str, request: bytes, stream_id: int = 1) -> None:
    await outlaw.open_stream(stream_id, protocol)
    await outlaw.send_data(request, stream_id)


async def answer_to(outlaw: Outlaw, stream_id: int = 1) -> bytes:
    """Read until the host has ended a stream."""
    answer = b""
    while True:
        piece = await outlaw.receive_plaintext()
        assert piece is not None, "the host closed the connection"
        for kind, flags, stream, _, data in frames_in(piece):
            if stream == stream_id:
                answer += data if kind == DATA else b""
                if flags & (FIN | RST):
                    return answer


def asked_too_often(what: str, protocol: str, burst: int, request) -> None:
    """Add a flood of requests: as many as are answered, one by one, and then many at once."""

    @case(what, errors.RateLimited, SURPLUS_RESET)
    async def _(target: Target) -> None:
        async with Outlaw.connected_to(target.host) as outlaw:
            data = request(target)
            for number in range(burst):
                await ask(outlaw, protocol, data, 2 * number + 1)
                await outlaw.send(frame_header(WINDOW_UPDATE, FIN, 2 * number + 1, 0))
                await answer_to(outlaw, 2 * number + 1)
            for number in range(burst, burst + 15):
                await ask(outlaw, protocol, data, 2 * number + 1)
            await until(lambda: target.refused["rate_limited"] > 10)


def bad_request(what: str, error: type[errors.GossipflError], protocol: str, make) -> None:
    """Add a request for which the connection is closed."""

    @case(what, error, CLOSED)
    async def _(target: Target) -> None:
        async with Outlaw.connected_to(target.host) as outlaw:
            await ask(outlaw, protocol, make(target))
            await outlaw.receive_all()


# Dialling back


def to_dial(*ports: int) -> bytes:
    return bytes([len(ports)]) + b"".join(port.to_bytes(2, "little") for port in ports)


UNREACHED, NOT_TRIED = b"\x01", b"\x04"

asked_too_often(
    "requests to be dialled back without end", DIAL_BACK_PROTOCOL, 4, lambda target: to_dial(target.port)
)
bad_request(
    "a request to be dialled back at 255 ports",
    errors.MalformedFrame,
    DIAL_BACK_PROTOCOL,
    lambda target: to_dial(*range(1, 256)),
)


@case("requests to be dialled back that never come", errors.PeerBusy, SURPLUS_RESET)
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        for stream_id in (1, 3, 5, 7):
            await outlaw.open_stream(stream_id, DIAL_BACK_PROTOCOL)
        await until(lambda: target.refused["peer_busy"] == 2)


@asynccontextmanager
async def silent_listener(host: str):
    """Somebody who accepts connections and says nothing; gives the port, and the connections made."""
    accepted: list[trio.SocketStream] = []

    async def accept(socket: trio.SocketStream) -> None:
        accepted.append(socket)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=host)
        nursery.start_soon(trio.serve_listeners, accept, [listener])
        yield listener.socket.getsockname()[1], accepted
        nursery.cancel_scope.cancel()


@case("a request to dial somebody else", None, "only the address that it comes from is dialled")
async def _(target: Target) -> None:
    async with (
        silent_listener("127.0.0.1") as (port, accepted),
        Outlaw.connected_to(target.host, source="127.0.0.9") as outlaw,
    ):
        await ask(outlaw, DIAL_BACK_PROTOCOL, to_dial(port))
        assert (await answer_to(outlaw)).endswith(b"127.0.0.9" + UNREACHED)
        assert not accepted


@case("a request to be dialled back where nobody answers", None, "told so when its deadline is over")
async def _(target: Target) -> None:
    async with (
        silent_listener("127.0.0.1") as (port, accepted),
        Outlaw.connected_to(target.host) as outlaw,
    ):
        await ask(outlaw, DIAL_BACK_PROTOCOL, to_dial(*[port] * MOST_PORTS))
        outcomes = (await answer_to(outlaw)).partition(b"127.0.0.1")[2]
        assert len(outcomes) == MOST_PORTS
        assert set(outcomes) <= set(UNREACHED + NOT_TRIED)
        assert 1 <= len(accepted) <= outcomes.count(UNREACHED)  # one address is not dialled often


# Measuring links


def to_measure(size: int, direction: int = 0) -> bytes:
    return bytes([direction]) + size.to_bytes(4, "little")


asked_too_often(
    "requests to measure a link without end", BANDWIDTH_PROTOCOL, 4, lambda _: to_measure(MOST_BYTES)
)
bad_request(
    "a request to measure a link by 4 GiB",
    errors.MalformedFrame,
    BANDWIDTH_PROTOCOL,
    lambda _: to_measure(2**32 - 1),
)


@case("a stranger's request to measure a link", None, "told that nothing is measured")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await ask(outlaw, BANDWIDTH_PROTOCOL, to_measure(MOST_BYTES))
        assert (await answer_to(outlaw)).endswith(bytes(4))


# Estimates of the whole network


def now_of(target: Target) -> int:
    return int(time.time() / target.peer.settings.estimates.period)


def reports(target: Target, *encoded: bytes, count: int | None = None, epoch: int | None = None) -> bytes:
    """A request that lists nothing and asks for nothing, and the reports that are told in it."""
    opening = (now_of(target) if epoch is None else epoch).to_bytes(8, "little") + b"\x00"
    return opening + bytes([len(encoded) if count is None else count]) + b"".join(encoded)


def report(target: Target, **changes) -> bytes:
    said = {"epoch": now_of(target), "task": target.task.fingerprint}
    return report_of(Identity.generate(), **{**said, **changes})


asked_too_often("requests for reports without end", ESTIMATES_PROTOCOL, 8, reports)
bad_request(
    "a report with a forged signature",
    errors.MalformedStatement,
    ESTIMATES_PROTOCOL,
    lambda target: reports(target, report(target)[:-64] + bytes(64)),
)
bad_request(
    "a report of another task",
    errors.MalformedStatement,
    ESTIMATES_PROTOCOL,
    lambda target: reports(target, report(target, task=b"o" * 32)),
)
bad_request(
    "a report of infinity",
    errors.MalformedStatement,
    ESTIMATES_PROTOCOL,
    lambda target: reports(target, report(target, sketch=[float("inf")] * SKETCH_WIDTH)),
)
bad_request(
    "255 reports at once",
    errors.MalformedStatement,
    ESTIMATES_PROTOCOL,
    lambda target: reports(target, bytes(REPORT_BYTES), count=255),
)


@case("reports of a far epoch", None, "not read: a clock is wrong, here or there")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await ask(outlaw, ESTIMATES_PROTOCOL, reports(target, epoch=2**64 - 1))
        assert not (await answer_to(outlaw)).partition(ESTIMATES_PROTOCOL.encode() + b"\n")[2]


# Statistics: a peer that learns offers none, so the service of `gossipfl stats gather` is added to its host


@case("statistics, at a peer that gathers none", None, "told that it has no such service")
async def _(target: Target) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        await outlaw.open_stream(1, STATISTICS_PROTOCOL)
        await outlaw.receive_until(b"na\n")


NETWORK = bytes(32)
OWN = told([row()] * 9)


@contextmanager
def gathering(target: Target) -> Iterator[None]:
    """Let a running peer gather statistics meanwhile, and assert that it has learnt of nobody's table."""
    incarnation = target.peer._incarnation

    def statement(sequence: int) -> bytes:
        return signed(OWN, identity=incarnation.identity, network=NETWORK, sequence=sequence)

    gathers = Gathering(
        host=incarnation.host,
        identity=incarnation.identity,
        summaries=Summaries(SCHEMA, NETWORK, admit=lambda *_: None),
        statement=statement,
        certificate=lambda: b"",
        bootstrap=(),
        is_complete=lambda _: False,
        linger=0.0,
    )
    try:
        yield
    finally:
        incarnation.host.services.withdraw(STATISTICS_PROTOCOL)
    assert list(gathers.summaries.members) == [incarnation.identity.peer_id]


def hello(*places: bytes, count: int | None = None) -> bytes:
    return SCHEMA.digest + (len(places) if count is None else count).to_bytes(2, "little") + b"".join(places)


def record(data: bytes, certificate: bytes = b"") -> bytes:
    """A request that lists nothing, and one record in it."""
    parts = b"".join(len(part).to_bytes(2, "little") + part for part in (data, certificate))
    return hello() + b"\x01\x00" + parts


def bad_statistics(what: str, make) -> None:
    @case(what, errors.MalformedStatement, CLOSED)
    async def _(target: Target) -> None:
        with gathering(target):
            async with Outlaw.connected_to(target.host) as outlaw:
                await ask(outlaw, STATISTICS_PROTOCOL, make())
                await outlaw.receive_all()


IMPOSSIBLE = Summary(
    rows=9, columns=(NumberSummary(present=9, total=9 * 10**12), CategorySummary(rows={}), NumberSummary())
)


def summary(content: Summary = OWN, **changes) -> bytes:
    return signed(content, identity=Identity.generate(), **{"network": NETWORK, **changes})


bad_statistics("statistics with a forged signature", lambda: record(summary(sign=Identity.generate().sign)))
bad_statistics("statistics of another network", lambda: record(summary(network=b"o" * 32)))
bad_statistics("statistics that no table can have, signed", lambda: record(summary(IMPOSSIBLE)))
bad_statistics("statistics of 65,535 bytes", lambda: record(bytes(65_535)))
bad_statistics("statistics with a certificate of 17 kB", lambda: record(summary(), bytes(17_000)))
bad_statistics("statistics of 65,535 members", lambda: hello() + b"\xff\xff")
bad_statistics("a list of statistics of 257 members", lambda: hello(count=257))
bad_statistics("a list of statistics that names a member twice", lambda: hello(*[bytes(PLACE_BYTES)] * 2))


@case("requests for statistics without end", errors.RateLimited, SURPLUS_RESET)
async def _(target: Target) -> None:
    with gathering(target):
        async with Outlaw.connected_to(target.host) as outlaw:
            for stream_id in range(1, 33, 2):
                await ask(outlaw, STATISTICS_PROTOCOL, hello() + b"\x00\x00", stream_id)
                await answer_to(outlaw, stream_id)
            for stream_id in range(33, 63, 2):
                await ask(outlaw, STATISTICS_PROTOCOL, hello() + b"\x00\x00", stream_id)
            await until(lambda: target.refused["rate_limited"] > 10)
