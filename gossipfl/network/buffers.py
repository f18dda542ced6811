"""Scratch memory shared by all connections of a host, so that idle connections hold none."""

from __future__ import annotations

from typing import Final

from gossipfl.network.noise.transport import LARGEST_RECORD

__all__ = ["SharedBuffers"]

_RECEIVED_BYTES: Final = 512 * 1024
_SENT_BYTES: Final = 768 * 1024
_MOST_IDLE: Final = 4


class SharedBuffers:
    """Buffers between the socket and the streams.

    `received` and `plaintext` are overwritten by every connection of the host, so their contents are valid only
    until the task's next checkpoint.
    """

    def __init__(self) -> None:
        self.received = memoryview(bytearray(_RECEIVED_BYTES + LARGEST_RECORD))
        self.plaintext = memoryview(bytearray(LARGEST_RECORD))
        self._idle: list[memoryview] = []

    def take(self, size: int) -> memoryview:
        """Return at least `size` bytes to fill and send; return them with `give_back`."""
        if size > _SENT_BYTES:
            return memoryview(bytearray(size))
        return self._idle.pop() if self._idle else memoryview(bytearray(_SENT_BYTES))

    def give_back(self, buffer: memoryview) -> None:
        """Make the buffer available to other connections."""
        if len(buffer) == _SENT_BYTES and len(self._idle) < _MOST_IDLE:
            self._idle.append(buffer)
