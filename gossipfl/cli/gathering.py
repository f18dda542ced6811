"""Gathering with other members until it is done, a signal arrives, or time is up."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["until_signalled"]

T = TypeVar("T")


async def until_signalled(gathering: Callable[[], Awaitable[T]], minutes: float | None) -> T:
    """Gather until done; a signal, or the end of the time, is a named error."""
    import signal

    import trio

    from gossipfl.errors import StatisticsMissing

    found: list[T] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_on_signal)
            with trio.move_on_after(math.inf if minutes is None else 60 * minutes):
                found.append(await gathering())
            nursery.cancel_scope.cancel()
    if not found:
        raise StatisticsMissing(
            "nothing was gathered: not all members have told what is theirs",
            remedy="Run the command again at all of them, at the same time.",
        )
    return found[0]
