"""Worker threads that share out the blocks of a wave."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from sims.engine.allocator import keep_released_memory

__all__ = ["Paces", "Workers", "torch_threads"]

T = TypeVar("T")
Way = TypeVar("Way")
_CLEARLY = 1.1
_FAR = 1.25
_OWN_CORE = 0.8  # share of the time: who gets less of one core would wait for a second one
_LONG = 20  # calls: ways that take turns more often are not worth more trials
_FIRST_RETRIES = frozenset({4, 8, 16, 32})
_CALLS_BEFORE_RETRY = 50  # calls after which the slower way is retried: machines get busy, and idle again


class Paces(Generic[Way]):
    """Which of several ways is the fastest, as measured, and now and then measured again.

    A measurement may have met a busy moment, so the slower ways are soon tried again, then ever more rarely; and
    soon again when one that had been the fastest for long no longer is. If one is faster than before, that alone
    counts: should it be chance, it costs a few more measurements.
    """

    def __init__(self) -> None:
        self._seconds: dict[Way, float] = {}
        self._calls = 0
        self._fastest: Way | None = None
        self._fastest_for = 0  # calls

    def choose(self, ways: Sequence[Way]) -> Way:
        """The way to go next: the first unless another is clearly faster, or one not tried (lately)."""
        for way in ways:
            if way not in self._seconds:
                return way
        ranked = sorted(ways, key=lambda way: self._seconds[way] * (1 if way == ways[0] else _CLEARLY))
        self._note(ranked[0])
        if len(ranked) == 1 or (self._calls % _CALLS_BEFORE_RETRY and self._calls not in _FIRST_RETRIES):
            return ranked[0]
        return ranked[1 + self._calls % (len(ranked) - 1)]

    def _note(self, fastest: Way) -> None:
        """Count calls, from the start again when the fastest way of a long time no longer is the fastest."""
        self._calls, self._fastest_for = self._calls + 1, self._fastest_for + 1
        if fastest != self._fastest:
            if self._fastest_for > _LONG:
                self._calls = 1
            self._fastest, self._fastest_for = fastest, 0

    def learn(self, way: Way, seconds: float) -> None:
        """Learn how many seconds an item took on a way."""
        before = self._seconds.get(way, seconds)
        retried = seconds < before and before > min(self._seconds.values())
        self._seconds[way] = seconds if retried else 0.8 * before + 0.2 * seconds

    def gain(self, way: Way, *, over: Way) -> float:
        """How many times as fast a way is as another; 1 if one of them was not tried."""
        seconds = self._seconds
        return seconds[over] / seconds[way] if way in seconds and over in seconds else 1.0


class Workers:
    """Runs the same function over a range, split among threads where that is faster; the caller is thread 0.

    Handing out work costs some tens of microseconds a thread and call, as much as a small wave takes, and brings
    nothing where other processes use the cores. So for each kind of work, such as ranges of about the same length,
    it measures, and occasionally again, whether one thread or all are faster. Threads that wait for one another
    suffer most where cores are scarce: one that does not have a core to itself is left alone.

    Parameters
    ----------
    threads : int
        Of these all but one are started on first use.
    always : bool
        Split every range, whether or not it pays.
    """

    def __init__(self, threads: int, *, always: bool = False) -> None:
        keep_released_memory()
        self.threads = max(1, threads)
        self._always = always
        self._pool = (
            ThreadPoolExecutor(self.threads - 1, "sims", initializer=torch.set_num_threads, initargs=(1,))
            if self.threads > 1
            else None
        )
        self._paces: dict[Hashable, Paces[bool]] = {}
        self._awake = 1.0
        self._aside: Future[Any] | None = None

    def share(self, run: Callable[[int, int, int], None], start: int, end: int) -> None:
        """Call ``run(thread, first, last)`` on consecutive parts of ``start … end``; return when all are done."""
        items = end - start
        if self._pool is None or items <= 1:
            self._run(run, start, end, 1)
            return
        length = items.bit_length()
        split = self.splits(length)
        began = time.perf_counter()
        self._run(run, start, end, min(self.threads, items) if split else 1)
        self.learn(length, split=split, pace=(time.perf_counter() - began) / items)

    def splits(self, kind: Hashable) -> bool:
        """Whether work of a kind is to be split this time."""
        if self._pool is None or self._always:
            return self._pool is not None
        if self._awake < _OWN_CORE:
            return False
        return self._paces.setdefault(kind, Paces()).choose((False, True))

    def learn(self, kind: Hashable, *, split: bool, pace: float, awake: float = 1.0) -> None:
        """Learn how many seconds an item of work of a kind took, split or not.

        Parameters
        ----------
        awake : float
            Share of the time in which the caller's thread had a core.
        """
        if not split:
            self._awake = 0.8 * self._awake + 0.2 * awake
        self._paces.setdefault(kind, Paces()).learn(split, pace)

    def pay(self, kind: Hashable) -> bool:
        """Whether threads that share work of a kind have lately been far faster than one."""
        return self._always or self._paces.setdefault(kind, Paces()).gain(way=True, over=False) > _FAR

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call a function in another thread; there are as many others as ``threads`` without the caller's."""
        assert self._pool is not None  # noqa: S101 - whoever is alone starts nothing
        return self._pool.submit(function, *arguments)

    def aside(self, function: Callable[[], T]) -> Future[T]:
        """Call a function in another thread, which shares no work until that is done."""
        self._aside = future = self.start(function)
        return future

    @property
    def are_complete(self) -> bool:
        """Whether no thread is busy with what it was given `aside`."""
        return self._aside is None or self._aside.done()

    def _run(self, run: Callable[[int, int, int], None], start: int, end: int, count: int) -> None:
        bounds = [start + (end - start) * k // count for k in range(count + 1)]
        pool = self._pool
        others = [] if pool is None else [pool.submit(run, k, *bounds[k : k + 2]) for k in range(1, count)]
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
def torch_threads(count: int | None = 1) -> Iterator[None]:
    """Let torch use this many threads an operation; restore the number on exit, whatever was set within.

    Parameters
    ----------
    count : int or None
        One where parallelism is over blocks, or where products are small: two threads on a busy machine were ten
        times slower on them. None leaves the number as it is.
    """
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
