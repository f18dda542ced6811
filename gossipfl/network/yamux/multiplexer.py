"""The Yamux protocol without sockets: it interprets received frames, and prepares the frames to send.

An implementation of our own, because the reader of stock libp2p writes (so two busy sides deadlock), its receive
window is only logged, its streams are not limited, and every 64 kB costs several locks, copies and task switches.
The frames are the same, so stock hosts interoperate.

References
----------
HashiCorp, "Yamux", https://github.com/hashicorp/yamux/blob/master/spec.md
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Final

from gossipfl.errors import MalformedFrame, MessageRefused, StreamLimitExceeded, WindowOverrun
from gossipfl.network.failures import ConnectionLost, StreamFailure, StreamReset
from gossipfl.network.yamux.headers import (
    ACK,
    DATA,
    FIN,
    FRAME_HEADER,
    GO_AWAY,
    INITIAL_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
)
from gossipfl.network.yamux.send_queue import SendQueue
from gossipfl.network.yamux.stream import Stream

__all__ = ["SMALL_BYTES", "Multiplexer"]

#: Bytes of a frame or record below which processing it costs more than receiving it.
SMALL_BYTES: Final = 1024
# Unsent answers to a peer that keeps asking and does not read: about 5,000 frames.
_MOST_CONTROL_BYTES: Final = 64 * 1024
_MOST_WINDOW: Final = 2**32 - 1


@dataclass(kw_only=True, eq=False)
class Multiplexer:
    """The streams of one connection.

    Parameters
    ----------
    is_initiator : bool
        Whether this side dialled, which determines the parity of its stream ids.
    receive_window : int
        Most bytes a stream's sender may have in flight, at least `INITIAL_WINDOW`.
    most_inbound_streams : int
        Streams that the other side may have open simultaneously.
    on_stream : callable
        Called with each stream that the other side opens.
    on_outgoing : callable
        Called when there is something to send.
    flush : callable
        Sends immediately what can be sent without blocking.
    on_refused : callable
        Called with the error of every refusal that does not end the connection.
    """

    is_initiator: InitVar[bool]
    receive_window: int
    most_inbound_streams: int
    on_stream: Callable[[Stream], None]
    on_outgoing: InitVar[Callable[[], None]]
    flush: Callable[[], None]
    on_refused: Callable[[MessageRefused], None]

    def __post_init__(self, is_initiator: bool, on_outgoing: Callable[[], None]) -> None:
        self._parity = 1 if is_initiator else 0
        self._next_id = 1 if is_initiator else 2

        self.streams: dict[int, Stream] = {}
        self._inbound_streams = 0
        self._refused_streams = 0
        self.gone_away = False
        #: Received frames that carry nothing: pings, resets, window updates by 0, beginnings of streams (each of
        #: which costs a task). The connection limits their rate.
        self.useless_frames = 0
        #: Received frames with a payload of less than `SMALL_BYTES`, or none; limited as well.
        self.small_frames = 0
        self.outgoing = SendQueue(on_outgoing)

        self._partial_header = bytearray()
        self._body_left = 0
        self._body_stream: Stream | None = None
        self._body_flags = 0
        # Bytes that may still be in flight on streams that this side has left.
        self._discard_allowance = 0
        self._failure: StreamFailure | None = None

    # Streams

    def open(self) -> Stream:
        """Open a stream. Nothing is sent until the connection's writer runs.

        Raises
        ------
        ConnectionLost
            The connection is gone, or about to close.
        """
        if self._failure is not None or self.gone_away:
            raise ConnectionLost("the connection accepts no more streams")
        stream = Stream(self, self._next_id)
        self._next_id += 2
        self.streams[stream.stream_id] = stream
        self.outgoing.add_control(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    def finish(self, stream: Stream) -> None:
        """Finish sending on a stream, once; reading remains possible."""
        if not stream.closed and not stream.finished and self._failure is None:
            stream.finished = True
            self.outgoing.add_control(WINDOW_UPDATE, FIN, stream.stream_id, 0)

    def leave(self, stream: Stream, *, reset: bool) -> None:
        """Forget a stream and notify the other side, once."""
        if stream.closed:
            return
        stream.closed = True
        stream.fail(StreamReset(f"stream {stream.stream_id} was closed on this side"))
        stream.buffered.clear()
        if self.streams.pop(stream.stream_id, None) is None or self._failure is not None:
            return
        self._forget(stream)
        self._discard_allowance += stream.receive_window
        if not stream.finished or (reset and not stream.finished_by_remote):
            self.outgoing.add_control(WINDOW_UPDATE, RST if reset else FIN, stream.stream_id, 0)

    def fail(self, failure: StreamFailure) -> None:
        """End all streams: the connection is gone."""
        self._failure = self._failure or failure
        for stream in list(self.streams.values()):
            stream.fail(failure)
        self.streams.clear()
        self.outgoing.clear()

    def grant_window(self, stream: Stream) -> None:
        """Let the other side send what a waiting reader wants, within the limit.

        Bytes that a reader waits for go straight into its target, so a large window costs no memory while there
        is a reader; without one, the window falls back to the initial size.
        """
        if stream.closed or stream.finished_by_remote or self._failure is not None:
            return
        aim = max(INITIAL_WINDOW, min(self.receive_window, stream.wanted()))
        grant = aim - stream.receive_window - len(stream.buffered)
        if grant >= aim // 2:
            stream.receive_window += grant
            self.outgoing.add_control(WINDOW_UPDATE, 0, stream.stream_id, grant)

    # Sending

    def send(self, stream: Stream) -> None:
        """Send the stream's outgoing bytes as soon as its window allows."""
        self.outgoing.add_stream(stream)
        self.flush()

    def ping(self, value: int) -> None:
        """Send a ping, which the other side must answer."""
        self.outgoing.add_control(PING, SYN, 0, value)

    def go_away(self) -> None:
        """Announce that this side is closing the connection."""
        self.outgoing.add_control(GO_AWAY, 0, 0, 0)

    # Receiving

    def target_for(self, size: int) -> memoryview | None:
        """Return a reader's memory for the next `size` bytes of plaintext, if they all belong there."""
        if size > self._body_left or self._body_stream is None:
            return None
        return self._body_stream.target_for(size)

    def advance(self, size: int) -> None:
        """Record that `size` bytes were written to the memory returned by `target_for`."""
        stream = self._body_stream
        assert stream is not None  # noqa: S101 - by `target_for`
        self._body_left -= size
        stream.receive_window -= size
        stream.advance(size)
        self.grant_window(stream)
        if not self._body_left:
            self._end_body()

    def receive(self, plaintext: memoryview) -> None:
        """Process plaintext, in order.

        Raises
        ------
        MessageRefused
            The other side broke the protocol; the connection must be closed.
        """
        position = 0
        while position < len(plaintext):
            if self._body_left:
                chunk = plaintext[position : position + self._body_left]
                position += len(chunk)
                self._body_left -= len(chunk)
                self._receive_body(chunk)
                if not self._body_left:
                    self._end_body()
                continue
            missing = FRAME_HEADER.size - len(self._partial_header)
            self._partial_header += plaintext[position : position + missing]
            position += missing
            if len(self._partial_header) == FRAME_HEADER.size:
                header = FRAME_HEADER.unpack(self._partial_header)
                self._partial_header.clear()
                self._receive_header(*header)
        if self.outgoing.control_bytes > _MOST_CONTROL_BYTES:
            raise MalformedFrame(
                "the peer requests answers without reading them",
                expected=f"at most {_MOST_CONTROL_BYTES} unread bytes",
                got=self.outgoing.control_bytes,
            )

    def _receive_header(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0:
            raise MalformedFrame("a Yamux frame has an unknown version", expected=0, got=version)
        if kind != DATA or length < SMALL_BYTES:
            self.small_frames += 1
        if kind == PING or flags & (RST | SYN) or (not length and not flags):
            self.useless_frames += 1
        if kind == PING:
            if flags & SYN:
                self.outgoing.add_control(PING, ACK, 0, length)
        elif kind == GO_AWAY:
            self.gone_away = True
        elif kind in (DATA, WINDOW_UPDATE):
            self._receive_for_stream(kind, flags, stream_id, length)
        else:
            raise MalformedFrame("a Yamux frame has an unknown type", expected="0 to 3", got=kind)

    def _receive_for_stream(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if flags & SYN:
            self._accept(stream_id)
        stream = self.streams.get(stream_id)
        if kind == DATA:
            self._begin_body(stream, flags, length)
            return
        if stream is None:
            return
        stream.send_window += length
        if stream.send_window > _MOST_WINDOW:
            raise MalformedFrame("the send window overflowed", expected=_MOST_WINDOW, got=stream.send_window)
        self.outgoing.add_stream(stream)
        self._apply_flags(stream, flags)

    def _receive_body(self, chunk: memoryview) -> None:
        stream = self._body_stream
        if stream is None or stream.closed:
            self._discard_allowance -= len(chunk)
            return
        stream.receive_window -= len(chunk)
        stream.deliver(chunk)
        self.grant_window(stream)

    def _begin_body(self, stream: Stream | None, flags: int, length: int) -> None:
        window = self._discard_allowance if stream is None else stream.receive_window
        if length > window:
            raise WindowOverrun(
                "a frame is larger than its receive window", expected=f"at most {window} bytes", got=length
            )
        if stream is not None and stream.finished_by_remote and length:
            raise MalformedFrame("data arrived on a stream that its sender had finished")
        self._body_stream, self._body_flags, self._body_left = stream, flags, length
        if not length:
            self._end_body()

    def _end_body(self) -> None:
        stream, flags = self._body_stream, self._body_flags
        self._body_stream, self._body_flags = None, 0
        if stream is not None and not stream.closed:
            self._apply_flags(stream, flags)

    def _apply_flags(self, stream: Stream, flags: int) -> None:
        if flags & RST:
            self.streams.pop(stream.stream_id, None)
            self._forget(stream)
            stream.fail(StreamReset(f"stream {stream.stream_id} was reset by the other side"))
        elif flags & FIN:
            stream.finish_by_remote()

    def _accept(self, stream_id: int) -> None:
        if stream_id % 2 == self._parity or stream_id == 0 or stream_id in self.streams:
            raise MalformedFrame("a stream was opened with an invalid id", got=stream_id)
        if self._inbound_streams >= self.most_inbound_streams or self.gone_away:
            self._refuse_stream(stream_id)
            return
        stream = Stream(self, stream_id)
        self.streams[stream_id] = stream
        self._inbound_streams += 1
        self.outgoing.add_control(WINDOW_UPDATE, ACK, stream_id, 0)
        self.on_stream(stream)

    def _refuse_stream(self, stream_id: int) -> None:
        error = StreamLimitExceeded(
            "the connection has too many streams", expected=f"at most {self.most_inbound_streams}"
        )
        self._refused_streams += 1
        if self._refused_streams > 8 * self.most_inbound_streams:
            raise error
        self.on_refused(error)
        self._discard_allowance += INITIAL_WINDOW
        self.outgoing.add_control(WINDOW_UPDATE, RST, stream_id, 0)

    def _forget(self, stream: Stream) -> None:
        self.outgoing.drop_stream(stream)
        if stream.stream_id % 2 != self._parity:
            self._inbound_streams -= 1
