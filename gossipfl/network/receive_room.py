"""Room in the kernel for bytes of a connection that have not been read."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import Final

import trio

__all__ = ["ReceiveRoom"]

_UNLIMITED: Final = 2**30  # as much as the system allows
_LOCK_OPTION: Final = 72  # SO_BUF_LOCK of Linux
_LEAST_SEGMENTS: Final = 2


class ReceiveRoom:
    """How much the kernel takes of a connection that is not being read.

    The kernel lets this grow to megabytes, which have passed the link at whatever pace they are read then. A cap
    on what a host receives takes a small one.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._most: int | None = None

    def limit(self, most: int | None) -> None:
        """Take about so many bytes from now on; None leaves that to the kernel."""
        if most == self._most:
            return
        self._most = most
        with suppress(OSError):
            if most is not None:
                # In less than that a segment does not fit, and its sender waits for a timer.
                least = _LEAST_SEGMENTS * self._stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                self._set(socket.SO_RCVBUF, max(most, least))
            else:
                self._set(socket.SO_RCVBUF, _UNLIMITED)
                if sys.platform == "linux":
                    self._set(_LOCK_OPTION, 0)

    def _set(self, option: int, value: int) -> None:
        self._stream.setsockopt(socket.SOL_SOCKET, option, value)
