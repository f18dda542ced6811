"""Turns of the streams of one connection: so many are served at a time, and the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["StreamTurns"]


class StreamTurns:
    """Gives turns. A stream between two exchanges ends its turn when another one waits.

    Parameters
    ----------
    streams : int
        Served at a time.
    """

    def __init__(self, streams: int) -> None:
        self._free = trio.Semaphore(streams)
        self.waiting = 0
        self.idle: list[trio.CancelScope] = []

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the time of a ``with`` block."""
        self.waiting += 1
        try:
            if not self._free.value and self.idle:
                self.idle.pop(0).cancel()
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    def begin_idle(self, scope: trio.CancelScope) -> None:
        """Let the scope, in which a stream waits for its next exchange, be cancelled when another stream waits."""
        if self.waiting:
            scope.cancel()
        self.idle.append(scope)

    def end_idle(self, scope: trio.CancelScope) -> None:
        """Note that the stream waits no more."""
        if scope in self.idle:
            self.idle.remove(scope)
