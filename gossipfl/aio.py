"""Peers inside an asyncio program: trio's guest mode runs both event loops in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from gossipfl.nurseries import first_error
from gossipfl.peer import Peer

__all__ = ["running"]


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Peer]:
    """Run a peer for the time of an ``async with`` block of an asyncio program.

    Blocks may be nested or entered by several tasks; their peers share one trio run.

    Parameters
    ----------
    peer : Peer
        Not running yet.

    Yields
    ------
    Peer
        Taking part. After the block, however it is left, the peer has stopped and left a checkpoint.

    Raises
    ------
    GossipflError
        If the peer cannot start, or failed during the block; then the block is cancelled. A peer that was
        asked to `Peer.stop` inside the block has not failed.

    Examples
    --------
    >>> async def main():
    ...     async with running(Peer("alice")) as peer:
    ...         await asyncio.sleep(60)
    ...         print(peer.status().metrics)
    """
    guest = _Guest(peer, await _TrioRun.present(), block=asyncio.current_task())
    try:
        await guest.started.wait()
        guest.raise_if_failed()
        yield peer
    except asyncio.CancelledError:
        if guest.error is None:
            raise
        guest.withdraw_cancellation()
    finally:
        await guest.finish()
    guest.raise_if_failed()


class _TrioRun:
    """The trio run of the current thread, while it has guests; a thread can have only one."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self.is_open = True
        self._guests = 0
        self._empty = trio.Event()
        trio.lowlevel.start_guest_run(
            self._empty.wait,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,  # type: ignore[arg-type]  # returns a Handle
            done_callback=lambda _: self.ended.set(),
            host_uses_signal_set_wakeup_fd=True,
        )
        self.token = trio.lowlevel.current_trio_token()
        _present.set(self)

    @classmethod
    async def present(cls) -> _TrioRun:
        """Find the run of this thread, or start one."""
        while trio.lowlevel.in_trio_run():  # type: ignore[attr-defined]  # the stubs are older
            run = _present.get()
            if run.is_open:
                return run
            await run.ended.wait()
        return cls()

    def start(self, guest: _Guest) -> None:
        """Run a guest; the run ends after its last one."""
        self._guests += 1
        trio.lowlevel.spawn_system_task(self._host, guest)

    async def _host(self, guest: _Guest) -> None:
        await guest.run()
        self._guests -= 1
        if not self._guests:
            self.is_open = False
            self._empty.set()


_present: trio.lowlevel.RunVar[_TrioRun] = trio.lowlevel.RunVar("gossipfl.aio")


class _Guest:
    """A peer in a trio run, as seen from asyncio."""

    def __init__(self, peer: Peer, run: _TrioRun, *, block: asyncio.Task[Any] | None) -> None:
        self.started = asyncio.Event()
        self.error: BaseException | None = None
        self._peer = peer
        self._run = run
        self._block = block
        self._cancelled_block = False
        self._leaving = False
        self._ended = asyncio.Event()
        self._scope = trio.CancelScope()
        run.start(self)

    def raise_if_failed(self) -> None:
        """Raise the error the peer ended with, if it did: the named one, out of any groups."""
        if self.error is not None:
            raise first_error(self.error) from None

    def withdraw_cancellation(self) -> None:
        """Undo the cancellation of the block, so that its task continues with the peer's error instead."""
        if self._cancelled_block and self._block is not None:
            self._block.uncancel()

    async def finish(self) -> None:
        """Stop the peer and wait until it has ended, despite any cancellation: the loop may close next."""
        self._leaving = True
        if not self._ended.is_set():
            self._run.token.run_sync_soon(self._scope.cancel)
        cancelled: asyncio.CancelledError | None = None
        while not (self._ended.is_set() and (self._run.is_open or self._run.ended.is_set())):
            try:
                await self._ended.wait()
                if not self._run.is_open:
                    await self._run.ended.wait()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def run(self) -> None:
        """Run the peer; never raises."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell_when_ready)
                    await self._peer.run()
                    nursery.cancel_scope.cancel()
        except BaseException as error:  # raised again, in the asyncio task
            self.error = error
            if self.started.is_set() and not self._leaving and self._block is not None:
                self._cancelled_block = self._block.cancel()
        self.started.set()
        self._ended.set()

    async def _tell_when_ready(self) -> None:
        await self._peer.ready.wait()
        self.started.set()
