"""Sizes of the batches in which a connection hands bytes to the kernel."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

import trio

__all__ = ["BatchSize"]

_SMALLEST: Final = 16 * 1024
_LARGEST: Final = 512 * 1024
_LEAST_UNSENT: Final = 32 * 1024
_LEAST_IN_FLIGHT: Final = 64 * 1024
_UNLIMITED: Final = 2**31 - 1
_LEAST_SECONDS: Final = 0.005
_BATCH_SECONDS: Final = 0.05
_UNSENT_SECONDS: Final = 0.25
_LONGEST_BURST_SECONDS: Final = 2.0
_UNSENT_OPTION: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)


class BatchSize:
    """The size of the next batch, and how much the kernel may hold that it cannot send yet.

    A batch is sealed as a whole, and whatever is more urgent waits for it and for what the kernel holds. On a slow
    connection both must therefore be small; on a fast one, large batches cost less.

    Attributes
    ----------
    size : int
        Bytes.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.size = _SMALLEST
        self._began = 0.0
        self._bytes = 0
        self._limit_unsent(_LEAST_UNSENT)

    def begin(self, now: float) -> None:
        """Note that bytes are about to be sent after a pause, in which the kernel sent all that it had."""
        self._began, self._bytes = now, -self._unsent - _LEAST_IN_FLIGHT

    def sent(self, size: int, now: float) -> None:
        """Note that the kernel has taken `size` more bytes."""
        self._bytes += size
        seconds = now - self._began
        if self._bytes <= 0 or seconds < _LEAST_SECONDS:
            return
        bytes_per_second = self._bytes / seconds
        self.size = round(min(max(_BATCH_SECONDS * bytes_per_second, _SMALLEST), _LARGEST))
        most = _UNLIMITED if self.size == _LARGEST else _UNSENT_SECONDS * bytes_per_second
        self._limit_unsent(round(max(most, _LEAST_UNSENT)))
        if seconds > _LONGEST_BURST_SECONDS:
            self._began, self._bytes = now, 0

    def _limit_unsent(self, most: int) -> None:
        self._unsent = min(most, _LARGEST)
        if _UNSENT_OPTION is not None:
            with suppress(OSError):
                self._stream.setsockopt(socket.IPPROTO_TCP, _UNSENT_OPTION, most)
