"""Exchanges continued after their connection broke: from the chunk that the other side has.

On a stream of `RESUME_PROTOCOL` the sender offers the frame again; once the receiver has cleared it, it says how
many whole chunks of the body it has, and the digest of each; the sender answers with how many of them are its own,
and goes on from there. On a stream of `RESUME_ANSWER_PROTOCOL` the receiver begins: it names the frame by the
digest of its preamble and header.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from gossipfl.errors import MalformedFrame, ReplayedMessage
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.partials import CHUNK_BYTES, Partial, Partials, UnderWay, chunk_digests
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import Frame

__all__ = ["KEY_BYTES", "Arrival", "agree", "agreed_chunks", "from_chunk"]

KEY_BYTES: Final = 16
_COUNT: Final = struct.Struct("<I")


class Arrival:
    """The receiver's side: the arrival of one frame with a body, which may have begun on an earlier connection.

    Parameters
    ----------
    sender : str
        Peer id.
    resumes : bool
        Whether the stream is for continuing a frame.

    Attributes
    ----------
    on_taken : callable
        Called when the arrival ends because the sender goes on over another connection, with the same memory.
    """

    def __init__(self, stream: Stream, partials: Partials, sender: str, *, resumes: bool) -> None:
        self.stream, self._partials, self._sender = stream, partials, sender
        self.resumes = resumes
        self.on_taken: Callable[[], None] = lambda: None
        self._key = b""
        self._begun: Partial | None = None
        self._is_agreed = False

    def find(self, key: bytes, size: int) -> None:
        """Look for the beginning of a body of so many bytes.

        Raises
        ------
        ReplayedMessage
            All of it has arrived.
        """
        self._key = key
        if not self.resumes:
            return
        if self._partials.is_complete(self._sender, key):
            raise ReplayedMessage("the model has arrived", remedy="Send a newer one.")
        self._begun = self._partials.take(self._sender, key, size)

    @property
    def body(self) -> memoryview | None:
        """Memory of the whole body, with its beginning; None if there is none."""
        return None if self._begun is None else self._begun.body

    async def agree(self, body: memoryview) -> int:
        """Say what has arrived of a body, and return the bytes of it that the sender recognises.

        Raises
        ------
        MalformedFrame
            It recognises more than was offered.
        StreamFailure
        """
        if not self.resumes:
            self._is_agreed = True
            return 0
        agreed = await agree(self.stream, body, 0 if self._begun is None else self._begun.size)
        self._begun, self._is_agreed = None, True
        return agreed

    @contextmanager
    def receiving(self, body: memoryview, received: Callable[[], int]) -> Iterator[None]:
        """Let the sender go on over another connection within the block, which then ends.

        A connection that broke at the other end may look alive for a minute at this one.

        Raises
        ------
        ConnectionLost
            The sender does so.
        """
        scope, place = trio.CancelScope(), (self._sender, self._key)

        def end() -> None:
            self._is_agreed = False  # what has arrived is not this arrival's any more
            self.on_taken()
            scope.cancel()

        self._partials.under_way[place] = mine = UnderWay(body, received, end)
        try:
            with scope:
                yield
        finally:
            if self._partials.under_way.get(place) is mine:
                del self._partials.under_way[place]
        if scope.cancelled_caught:
            raise ConnectionLost("the other side goes on over another connection")

    def interrupt(self, body: memoryview, received: int) -> None:
        """Keep what has been received of the body."""
        if self._is_agreed:
            self._partials.keep(self._sender, self._key, body, received)

    def complete(self) -> None:
        """Remember that the frame has been accepted."""
        self._partials.complete(self._sender, self._key)

    def close(self) -> None:
        """Keep a beginning of which no use was made."""
        if self._begun is not None:
            self._partials.keep(self._sender, self._key, self._begun.body, self._begun.size)


async def agree(stream: Stream, body: memoryview, received: int) -> int:
    """Say which chunks of the bytes received of a body there are, and return the bytes that the sender recognises.

    Raises
    ------
    MalformedFrame
        It recognises more than was offered.
    StreamFailure
    """
    digests = await trio.to_thread.run_sync(chunk_digests, (body,), received)
    await stream.write(_COUNT.pack(len(digests)) + struct.pack(f"<{len(digests)}Q", *digests))
    [count] = _COUNT.unpack(await stream.read_exactly(_COUNT.size))
    if count > len(digests):
        raise MalformedFrame(
            "a sender continues beyond what was offered", expected=f"at most {len(digests)}", got=count
        )
    return int(count) * CHUNK_BYTES


async def agreed_chunks(stream: Stream, frame: Frame) -> int:
    """Return the number of chunks that the receiver of a frame has of its body.

    Raises
    ------
    MalformedFrame
        It claims to have more than there is.
    StreamFailure
    """
    [count] = _COUNT.unpack(await stream.read_exactly(_COUNT.size))
    body = frame.buffers[1:]
    most = sum(buffer.nbytes for buffer in body) // CHUNK_BYTES
    if count > most:
        raise MalformedFrame("a receiver claims too many chunks", expected=f"at most {most}", got=count)
    theirs = struct.unpack(f"<{count}Q", await stream.read_exactly(8 * count))
    ours = await trio.to_thread.run_sync(chunk_digests, body, count * CHUNK_BYTES)
    differing = (place for place, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    return next(differing, count)


def from_chunk(frame: Frame, chunk: int) -> list[bytes | memoryview]:
    """Return what continues a frame: the number of a chunk, and the body from there on."""
    return [_COUNT.pack(chunk), *_part(frame.buffers[1:], chunk * CHUNK_BYTES)]


def _part(buffers: Sequence[memoryview], start: int) -> list[memoryview]:
    """Return the bytes from ``start`` on of buffers, one after the other."""
    views: list[memoryview] = []
    for buffer in buffers:
        view = buffer.cast("B")
        views.append(view[start:])
        start = max(0, start - len(view))
    return views
