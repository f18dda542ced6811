"""Worker threads that share out the blocks of a wave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

__all__ = ["Workers", "one_thread_each"]


class Workers:
    """Runs the same function over a range, split among threads; the caller is thread 0.

    Parameters
    ----------
    threads : int
        Of these all but one are started on first use.
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        self._pool = (
            ThreadPoolExecutor(self.threads - 1, "sims", initializer=torch.set_num_threads, initargs=(1,))
            if self.threads > 1
            else None
        )

    def share(self, run: Callable[[int, int, int], None], start: int, end: int) -> None:
        """Call ``run(thread, first, last)`` on consecutive parts of ``start … end``; return when all are done."""
        count = min(self.threads, end - start)
        if self._pool is None or count <= 1:
            run(0, start, end)
            return
        bounds = [start + (end - start) * k // count for k in range(count + 1)]
        others = [self._pool.submit(run, k, bounds[k], bounds[k + 1]) for k in range(1, count)]
        try:
            run(0, bounds[0], bounds[1])
        finally:
            for other in others:
                other.exception()  # wait: nobody may write to the table after this returns
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch use one thread an operation: parallelism is over blocks here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
