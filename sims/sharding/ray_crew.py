"""Shards as actors of a Ray cluster: rows go from actor to actor, and never through the driver."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import ModuleType
from typing import Any

from sims.cluster.ray_cluster import connected
from sims.errors import ClusterUnreachable, SimulationError
from sims.sharding.crew import Crew, ShardLost
from sims.sharding.post import Key, Post, Rows, Stopped
from sims.sharding.shard import Shard, ShardTask
from sims.world import World

__all__ = ["RayCrew", "ray_crews"]

_POST = "post"  # calls that are served while a shard computes or waits
_START_SECONDS = 600.0
Answer = tuple[str, Any]


class _Actor:
    """A shard in a process of its own."""

    def __init__(self, task: ShardTask, number: int) -> None:
        self._task, self._number = task, number
        self._post, self._delivers = Post(number, self._hand), list[Callable[[Key, Rows], None]]()
        self._shard: Shard | None = None

    def process(self) -> int:
        """Number of the process."""
        return os.getpid()

    def meet(self, others: list[Any]) -> None:
        """Take note of the actors of all shards."""
        # Nobody asks for what a delivery returns, so nothing is kept of it.
        options = {"concurrency_group": _POST, "num_returns": 0}
        self._delivers = [each.deliver.options(**options).remote for each in others]

    def deliver(self, key: Key, rows: Rows) -> None:
        """Take in rows of another shard."""
        self._post.deliver(key, rows)

    def stop(self) -> None:
        """Wait for others no longer."""
        self._post.stop()

    def make(self) -> Answer:
        """Set the shard up."""
        return _answer(self._made)

    def ask(self, method: str, given: tuple[Any, ...]) -> Answer:
        """Call a method of the shard."""
        return _answer(lambda: getattr(self._shard, method)(*given))

    def _made(self) -> None:
        self._shard = Shard(self._task, self._number, self._post)

    def _hand(self, receiver: int, key: Key, rows: Rows) -> None:
        self._delivers[receiver](key, rows)


def _answer(call: Callable[[], Any]) -> Answer:
    try:
        return "done", call()
    except Stopped:
        return "stopped", None
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just made
        except Exception:
            error = SimulationError(f"{type(error).__name__}: {error}")
        return "failed", error


class RayCrew:
    """One actor a shard.

    Parameters
    ----------
    task : ShardTask
    ray : module
        Connected.

    Raises
    ------
    ClusterUnreachable
        If the actors do not start.
    """

    def __init__(self, task: ShardTask, ray: ModuleType) -> None:
        machines = sum(node["Alive"] for node in ray.nodes())
        together = -(-task.partition.shards // max(1, machines))
        self._task, self._ray = replace(task, together=together), ray
        self._actors: dict[int, Any] = {}
        self._lost = set(range(task.partition.shards))
        self._start()

    def processes(self) -> list[int]:
        """Numbers of the actors' processes."""
        found: list[int] = self._ray.get([actor.process.remote() for actor in self._actors.values()])
        return found

    def ask(self, method: str, given: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of each shard."""
        return self._all(
            [self._actors[each].ask.remote(method, given[each]) for each in sorted(self._actors)]
        )

    def replace(self, *, everyone: bool) -> None:
        """Start those that are gone, or everyone, anew."""
        if everyone:
            self._lost = set(self._actors)
            self.close()
        self._start()

    def close(self) -> None:
        """End all actors."""
        for actor in self._actors.values():
            with suppress(Exception):  # it may be gone
                self._ray.kill(actor)

    def _start(self) -> None:
        ray, shards, threads = self._ray, self._task.partition.shards, self._task.threads
        share = ray.cluster_resources().get("CPU", 0.0) / shards
        cpus = min(threads, share if share < 1 else int(share))
        # One that is lost is replaced here, with all others set back: Ray alone could not.
        made = ray.remote(concurrency_groups={_POST: 1})(_Actor).options(
            num_cpus=cpus, max_restarts=0, scheduling_strategy="SPREAD", enable_task_events=False
        )
        started = sorted(self._lost)
        for number in started:
            self._actors[number] = made.remote(self._task, number)
        self._lost.clear()
        everybody = [self._actors[each] for each in sorted(self._actors)]
        try:
            ray.get([actor.meet.remote(everybody) for actor in everybody], timeout=_START_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise ClusterUnreachable(
                f"the Ray cluster did not start {shards} actors within {_START_SECONDS:.0f} s",
                expected=f"{cpus:g} free CPUs for each",
                remedy="Wait until other work on it has ended, or choose fewer shards.",
            ) from error
        except ray.exceptions.RayActorError as error:
            self._note_lost()
            raise ShardLost(f"a shard was lost while it started: {_said(error)}") from error
        self._all([self._actors[number].make.remote() for number in started])

    def _all(self, calls: list[Any]) -> list[Any]:
        """Wait for calls of all shards; the first that does not succeed stops those that wait for it."""
        ray, left, answers, lost = self._ray, list(calls), dict[Any, Answer](), None
        while left:
            (ready,), left = ray.wait(left, num_returns=1)
            try:
                answers[ready] = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                answers[ready], lost = ("lost", None), error
            if answers[ready][0] in ("failed", "lost"):
                self._stop()
        for state, found in answers.values():
            if state == "failed":
                raise found
        if any(state != "done" for state, _ in answers.values()):
            self._note_lost()
            raise ShardLost("a shard was lost" if lost is None else f"a shard was lost: {_said(lost)}")
        return [answers[call][1] for call in calls]

    def _stop(self) -> None:
        for actor in self._actors.values():
            actor.stop.options(concurrency_group=_POST).remote()

    def _note_lost(self) -> None:
        """Find out which actors do not answer any more."""
        for number, actor in self._actors.items():
            try:
                self._ray.get(actor.process.remote(), timeout=_START_SECONDS)
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError):
                self._lost.add(number)


def _said(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def ray_crews(on: str) -> Iterator[Callable[[ShardTask, World], Crew]]:
    """Connect to a cluster, and give what makes crews there (`sims.sharding.start.sharded`).

    Parameters
    ----------
    on : str
        ``ray``, or ``ray://host:port``; see `sims.cluster.ray_cluster.connected`.

    Raises
    ------
    SettingError, ClusterUnreachable, ClusterMismatch
    """
    with connected(on) as ray:

        def crew(task: ShardTask, world: World) -> RayCrew:
            del world  # each actor makes its own
            return RayCrew(task, ray)

        yield crew
