"""Send queue of a connection: control frames first, then the streams in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gossipfl.network.yamux.headers import DATA, frame_header
from gossipfl.network.yamux.stream import Stream

__all__ = ["SendQueue"]

_LARGEST_PAYLOAD: Final = 256 * 1024


class SendQueue:
    """Frames waiting to be sent.

    Nothing large is stored: control frames have 12 bytes, and data stays with its stream until it is sent.

    Parameters
    ----------
    on_work : callable
        Called when there is something to send.
    """

    def __init__(self, on_work: Callable[[], None]) -> None:
        self._on_work = on_work
        self._control = bytearray()
        self._ready: deque[Stream] = deque()

    @property
    def has_work(self) -> bool:
        """Whether `next_batch` would return anything."""
        return bool(self._control) or bool(self._ready)

    @property
    def control_bytes(self) -> int:
        """Bytes of waiting control frames."""
        return len(self._control)

    def add_control(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """Queue a frame without payload; it overtakes all waiting data."""
        self._control += frame_header(kind, flags, stream_id, value)
        self._on_work()

    def add_stream(self, stream: Stream) -> None:
        """Queue a stream if it has bytes to send and its window allows sending."""
        if stream.send_window > 0 and stream.outgoing and stream not in self._ready:
            self._ready.append(stream)
            self._on_work()

    def drop_stream(self, stream: Stream) -> None:
        """Remove a stream from the queue."""
        if stream in self._ready:
            self._ready.remove(stream)

    def clear(self) -> None:
        """Drop everything queued."""
        self._control.clear()
        self._ready.clear()

    def next_batch(self, most: int) -> tuple[list[bytes | memoryview], list[Stream]]:
        """Take the next pieces of plaintext to send, about `most` bytes.

        Returns
        -------
        pieces : list of bytes-like
            Complete frames; views of the memory that the streams' users passed in.
        drained : list of Stream
            Streams whose outgoing bytes are all among the pieces.
        """
        pieces: list[bytes | memoryview] = []
        drained: list[Stream] = []
        size = 0
        if self._control:
            pieces.append(bytes(self._control))
            size += len(self._control)
            self._control.clear()
        while self._ready and size < most:
            stream = self._ready.popleft()
            payload = _take_payload(stream, min(_LARGEST_PAYLOAD, most - size))
            length = sum(len(piece) for piece in payload)
            if not length:
                continue
            pieces.append(frame_header(DATA, 0, stream.stream_id, length))
            pieces += payload
            size += length
            if not stream.outgoing:
                drained.append(stream)
            elif stream.send_window > 0:
                self._ready.append(stream)
        return pieces, drained


def _take_payload(stream: Stream, most: int) -> list[memoryview]:
    room = min(most, stream.send_window)
    payload: list[memoryview] = []
    while stream.outgoing and room:
        piece = stream.outgoing[0]
        taken = piece[:room]
        payload.append(taken)
        room -= len(taken)
        stream.send_window -= len(taken)
        stream.transmitted += len(taken)
        if len(taken) == len(piece):
            stream.outgoing.popleft()
        else:
            stream.outgoing[0] = piece[len(taken) :]
    return payload
