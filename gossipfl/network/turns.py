"""Turns of the streams of one connection: so many are served at a time, and the others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

__all__ = ["StreamTurns", "Turn"]


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
    async def taken(self) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold it for the time of a ``with`` block."""
        self.waiting += 1
        try:
            if not self._free.value and self.idle:
                self.idle.pop(0).cancel()
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            yield Turn(self)
        finally:
            self._free.release()


class Turn:
    """The turn of one stream."""

    def __init__(self, turns: StreamTurns) -> None:
        self._turns = turns

    @contextmanager
    def idle(self, seconds: float) -> Iterator[trio.CancelScope]:
        """Wait in the block for the next exchange; cancelled after some seconds, or when another stream waits."""
        turns = self._turns
        with trio.move_on_after(seconds) as scope:
            if turns.waiting:
                scope.cancel()
            turns.idle.append(scope)
            try:
                yield scope
            finally:
                if scope in turns.idle:
                    turns.idle.remove(scope)
