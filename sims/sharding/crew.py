"""The crew of a simulation: all its shards, wherever they are; and one in the threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from sims.errors import SimulationError
from sims.sharding.post import Key, Post, Rows, Stopped
from sims.sharding.shard import Shard, ShardTask
from sims.world import World

__all__ = ["Crew", "ShardLost", "Threads"]


class ShardLost(SimulationError):
    """A shard and all it held is gone; others are there."""


class Crew(Protocol):
    """All shards of a simulation.

    Attributes
    ----------
    during : callable
        Told now and then, while calls are under way, how many rounds are done.
    """

    during: Callable[[float], None]

    def ask(self, method: str, given: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of each shard with its own arguments, at the same time; return what each gives.

        Raises
        ------
        ShardLost
            If one is gone. Those that waited for it wait no longer.
        Exception
            Whatever one raised.
        """
        ...

    def replace(self, *, everyone: bool) -> None:
        """Start those that are gone, or everyone, anew: as at the beginning of the simulation."""
        ...

    def close(self) -> None:
        """End all."""
        ...


class Threads:
    """Shards in threads of this process, of which one at a time computes.

    Parameters
    ----------
    task : ShardTask
    world : World, optional
        Shared by all, if it is there already.
    """

    def __init__(self, task: ShardTask, world: World | None = None) -> None:
        self._task, self._world = task, world
        self.during: Callable[[float], None] = lambda rounds: None
        self._turn = threading.Condition(threading.RLock())
        count = task.partition.shards
        self._pool = ThreadPoolExecutor(count, "shard")
        self.shards: list[Shard | None] = [None] * count
        self.posts: dict[int, Post] = {}
        self._start()

    def _start(self) -> None:
        lost = [number for number, shard in enumerate(self.shards) if shard is None]
        for number in lost:
            self.posts[number] = Post(number, self._hand, changed=self._turn)
        self._all([self._pool.submit(self._make, number) for number in lost])

    def _make(self, number: int) -> None:
        with self._turn:
            self.shards[number] = Shard(self._task, number, self.posts[number], world=self._world)

    def _hand(self, receiver: int, key: Key, rows: Rows) -> None:
        self.posts[receiver].deliver(key, rows)

    def ask(self, method: str, given: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of each shard."""
        return self._all(
            [self._pool.submit(self._call, each, method, arguments) for each, arguments in enumerate(given)]
        )

    def _call(self, number: int, method: str, given: tuple[Any, ...]) -> Any:  # noqa: ANN401
        with self._turn:
            shard = self.shards[number]
            if shard is None:
                raise ShardLost(f"shard {number} is gone")
            return getattr(shard, method)(*given)

    def _all(self, calls: list[Future[Any]]) -> list[Any]:
        if any(call.exception() for call in wait(calls, return_when=FIRST_EXCEPTION).done):
            for post in self.posts.values():
                post.stop()
        errors = [error for call in calls if (error := call.exception()) is not None]
        for error in errors:
            if not isinstance(error, Stopped):
                raise error
        if errors:
            raise ShardLost("a shard is gone") from errors[0]
        return [call.result() for call in calls]

    def lose(self, number: int) -> None:
        """Lose a shard, as if its machine were gone."""
        with self._turn:
            self.shards[number] = None
            for post in self.posts.values():
                post.stop()

    def replace(self, *, everyone: bool) -> None:
        """Start those that are gone, or everyone, anew."""
        if everyone:
            self._end()
        self._start()

    def close(self) -> None:
        """End all."""
        self._end()
        self._pool.shutdown()

    def _end(self) -> None:
        for number, shard in enumerate(self.shards):
            if shard is not None:
                shard.close()
            self.shards[number] = None
