"""Turns of the streams of one connection: a limited number is served simultaneously, and the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["StreamTurns"]


class StreamTurns:
    """A limited number of turns. A stream between two exchanges ends its turn when another one is waiting.

    Parameters
    ----------
    streams : int
        Streams served simultaneously.
    """

    def __init__(self, streams: int) -> None:
        self._free = trio.Semaphore(streams)
        self._idle: list[trio.CancelScope] = []
        self._ending: list[trio.CancelScope] = []

    @property
    def waiting(self) -> int:
        """Number of streams that are waiting for their turn."""
        return self._free.statistics().tasks_waiting

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the duration of a ``with`` block."""
        if not self._free.value:
            self._end_idle_for(self.waiting + 1)
        await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    def begin_idle(self, scope: trio.CancelScope) -> None:
        """Allow cancelling the scope in which a stream waits for its next exchange, when another is waiting."""
        self._idle.append(scope)
        self._end_idle_for(self.waiting)

    def end_idle(self, scope: trio.CancelScope) -> None:
        """Record that the stream has stopped waiting: it ends, or its next exchange begins."""
        for scopes in (self._idle, self._ending):
            if scope in scopes:
                scopes.remove(scope)

    def _end_idle_for(self, waiting: int) -> None:
        while self._idle and len(self._ending) < waiting:
            self._ending.append(self._idle.pop(0))
            self._ending[-1].cancel()
