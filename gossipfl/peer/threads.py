"""Work in threads, so that the event loop stays responsive while torch computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import torch
import trio

__all__ = ["run_abandonable"]

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


async def run_abandonable(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Run ``work(*arguments)`` in a worker thread; a cancelled caller does not wait for it.

    The worker computes with as many threads as the caller is set to: torch keeps that number for each thread,
    and sums split among other threads round otherwise.

    Only for work without lasting effects: the abandoned thread runs on, and its result is dropped.
    """
    threads = torch.get_num_threads()

    def working() -> Result:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return work(*arguments)

    # The installed type stubs of trio are older than this parameter.
    return await trio.to_thread.run_sync(working, abandon_on_cancel=True)  # type: ignore[call-arg]
