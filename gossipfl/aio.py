"""A peer inside an asyncio program: trio's guest mode runs both event loops in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from gossipfl.peer import Peer

__all__ = ["running"]


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Peer]:
    """Run a peer for the time of an ``async with`` block of an asyncio program.

    Parameters
    ----------
    peer : Peer
        Not running yet.

    Yields
    ------
    Peer
        Taking part. After the block it has left a checkpoint.

    Raises
    ------
    GossipflError
        If the peer cannot start, or failed during the block; then the block is cancelled.

    Examples
    --------
    >>> async def main():
    ...     async with running(Peer("alice")) as peer:
    ...         await asyncio.sleep(60)
    ...         print(peer.status().metrics)
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()
    started = asyncio.Event()
    block = asyncio.current_task()
    token: list[trio.lowlevel.TrioToken] = []

    async def run() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_when_ready)
            await peer.run()
            nursery.cancel_scope.cancel()

    async def tell_when_ready() -> None:
        await peer.ready.wait()
        started.set()

    def done(outcome: Any) -> None:  # noqa: ANN401  (an outcome.Outcome, whose stubs are not installed)
        ended.set_result(outcome)
        if started.is_set() and not leaving and block is not None:
            block.cancel()
        started.set()

    leaving = False
    trio.lowlevel.start_guest_run(
        run,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,  # type: ignore[arg-type]  # returns a Handle
        done_callback=done,
        host_uses_signal_set_wakeup_fd=True,
    )
    await started.wait()
    try:
        if ended.done():
            _unwrap(ended.result())
        yield peer
    except asyncio.CancelledError:
        if ended.done():
            _unwrap(ended.result())
        raise
    finally:
        leaving = True
        if not ended.done():
            token[0].run_sync_soon(peer.stop)
            await asyncio.shield(ended)
    _unwrap(ended.result())


def _unwrap(outcome: Any) -> None:  # noqa: ANN401
    try:
        outcome.unwrap()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
