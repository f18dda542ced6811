"""Work in threads, so that the event loop stays responsive while torch computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

__all__ = ["run_abandonable"]

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


async def run_abandonable(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Run ``work(*arguments)`` in a worker thread; a cancelled caller does not wait for it.

    Only for work without lasting effects: the abandoned thread runs on, and its result is dropped.
    """
    # The installed type stubs of trio are older than this parameter.
    return await trio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)  # type: ignore[call-arg]
