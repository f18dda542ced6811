"""Turns of the streams of one connection: so many are served at a time, and the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["StreamTurns"]


class StreamTurns:
    """Gives turns. A stream between two exchanges ends its turn when another one waits for it.

    Parameters
    ----------
    streams : int
        Served at a time.
    """

    def __init__(self, streams: int) -> None:
        self._free = trio.Semaphore(streams)
        self._idle: list[trio.CancelScope] = []
        self._ending: list[trio.CancelScope] = []

    @property
    def waiting(self) -> int:
        """Streams that wait for their turn."""
        return self._free.statistics().tasks_waiting

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the time of a ``with`` block."""
        if not self._free.value:
            self._end_idle_for(self.waiting + 1)
        await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    def begin_idle(self, scope: trio.CancelScope) -> None:
        """Let the scope, in which a stream waits for its next exchange, be cancelled when another stream waits."""
        self._idle.append(scope)
        self._end_idle_for(self.waiting)

    def end_idle(self, scope: trio.CancelScope) -> None:
        """Note that the stream waits no more: it ends, or its next exchange begins."""
        for scopes in (self._idle, self._ending):
            if scope in scopes:
                scopes.remove(scope)

    def _end_idle_for(self, waiting: int) -> None:
        while self._idle and len(self._ending) < waiting:
            self._ending.append(self._idle.pop(0))
            self._ending[-1].cancel()
