"""Worker threads, which keep the event loop responsive while torch computes."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

import trio

__all__ = ["run_abandonable", "wait_for_abandoned"]

_GRACE_SECONDS = 1.0

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class _Workers:
    """The number of threads that are computing."""

    def __init__(self) -> None:
        self._count, self._changed = 0, threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, seconds)


_workers = _Workers()


async def run_abandonable(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Run ``work(*arguments)`` in a worker thread; a cancelled caller does not wait for it.

    The worker uses the caller's number of torch threads, which torch stores for each thread and on which the
    rounding of sums depends.

    Only for work without lasting effects: an abandoned thread continues, and its result is dropped.
    """
    torch: Any = sys.modules.get("torch")  # what has not imported it computes without it
    threads = torch.get_num_threads() if torch else 0

    def working() -> Result:
        with _workers:
            if torch and torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            return work(*arguments)

    # The installed type stubs of trio are older than this parameter.
    return await trio.to_thread.run_sync(working, abandon_on_cancel=True)  # type: ignore[call-arg]


def wait_for_abandoned(seconds: float = _GRACE_SECONDS) -> bool:
    """Wait for abandoned work, and return whether all of it has ended.

    If the interpreter exits while a thread is inside torch, the process aborts.
    """
    return _workers.wait(seconds)


atexit.register(wait_for_abandoned)
