"""Shards as actors of a Ray cluster: rows go from actor to actor, and never through the driver."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Protocol, TypeVar

from sims.cluster.ray_cluster import connected
from sims.cluster.shared_data import Arrays, samples_of
from sims.cluster.shipping import Shipment, clear_machines, paths_in, shipment_of
from sims.errors import ClusterUnreachable, SimulationError
from sims.scenario import Scenario, to_toml
from sims.sharding.crew import Crew, ShardLost
from sims.sharding.parcel import Parcel, opened, parcel_of
from sims.sharding.placement import means_of_each
from sims.sharding.post import Key, Post, Rows, Stopped
from sims.sharding.shard import Shard, ShardTask
from sims.world import World
from topology.parsing import toml_of

__all__ = ["RayCrew", "ray_crews"]

logger = logging.getLogger(__name__)

_POST = "post"  # calls that are served while a shard computes or waits
_START_SECONDS = 600.0
_TELL_SECONDS = 20.0  # between two words about shards that have not started
_LOOK_SECONDS = 0.5  # between two looks at how far shards are
_GO_ON = "Go on with --resume, here or there: what was written before is still there."
Answer = tuple[str, Any]
_Method = TypeVar("_Method", bound=Callable[..., Any])


class _Actor:
    """A shard in a process of its own."""

    def __init__(self, parcel: Parcel, shipment: Shipment, data: Arrays | None, number: int) -> None:
        self._sent, self._number = (parcel, shipment, data), number
        self._post, self._delivers = Post(number, self._hand), list[Callable[[Key, Rows], None]]()
        self._shard: Shard | None = None

    def process(self) -> int:
        """Number of the process."""
        return os.getpid()

    def meet(self, others: list[Any]) -> None:
        """Take note of the actors of all shards."""
        # Nobody asks for what a delivery returns, so nothing is kept of it.
        # One that a broken connection swallowed is sent again: who waits for it would wait for ever.
        options = {"num_returns": 0, "max_task_retries": -1}
        self._delivers = [each.deliver.options(**options).remote for each in others]

    def deliver(self, key: Key, rows: Rows) -> None:
        """Take in rows of another shard."""
        self._post.deliver(key, rows)

    def stop(self) -> None:
        """Wait for others no longer."""
        self._post.stop()

    def done(self) -> float:
        """Rounds that are done, as far as is known."""
        return 0.0 if self._shard is None else self._shard.done

    def make(self) -> Answer:
        """Set the shard up."""
        return _answer(self._made)

    def ask(self, method: str, given: tuple[Any, ...]) -> Answer:
        """Call a method of the shard."""
        return _answer(lambda: getattr(self._shard, method)(*given))

    def _made(self) -> None:
        task, data = opened(*self._sent)
        self._shard = Shard(task, self._number, self._post, data=data)

    def _hand(self, receiver: int, key: Key, rows: Rows) -> None:
        self._delivers[receiver](key, rows)


class _Decorator(Protocol):
    def __call__(self, method: _Method, /) -> _Method: ...


def _served(ray: ModuleType) -> type[_Actor]:
    """The class of actors, of which some methods are served while others wait.

    Declared here, and not where they are called: Ray's client cannot say it there.
    """
    meanwhile: _Decorator = ray.method(concurrency_group=_POST)

    class Served(_Actor):
        @meanwhile
        def deliver(self, key: Key, rows: Rows) -> None:
            super().deliver(key, rows)

        @meanwhile
        def stop(self) -> None:
            super().stop()

        @meanwhile
        def done(self) -> float:
            return super().done()

    return Served


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
    NotSimulable
        If they are to compute on cards, and there are none.
    """

    def __init__(self, task: ShardTask, ray: ModuleType) -> None:
        self.during: Callable[[float], None] = lambda rounds: None
        machines = sum(node["Alive"] for node in ray.nodes())
        together = -(-task.partition.shards // max(1, machines))
        self._task, self._ray = task, ray
        self._parcel = parcel_of(task, together=together)
        self._shipment, self._data = self._put(task.scenario)
        self._actors: dict[int, Any] = {}
        self._lost = set(range(task.partition.shards))
        # One class for all: survivors' messages to actors of a class declared later are lost.
        self._served = ray.remote(concurrency_groups={_POST: 1})(_served(ray))
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
            self._end()
        self._start()

    def close(self) -> None:
        """End all actors."""
        self._end()
        with suppress(Exception):  # of a cluster that is lost
            clear_machines(self._ray, self._parcel.journey)

    def _end(self) -> None:
        for actor in self._actors.values():
            with suppress(Exception):  # it may be gone
                self._ray.kill(actor)

    def _put(self, scenario: Scenario) -> tuple[Any, Any]:
        """Put files that a scenario names, and its samples, into the object store, for all machines."""
        arrays = samples_of(scenario)
        files = shipment_of(*paths_in(toml_of(to_toml(scenario))))
        return self._ray.put(files), None if arrays is None else self._ray.put(arrays)

    def _start(self) -> None:
        ray, task = self._ray, self._task
        means = means_of_each(
            ray.nodes(), shards=task.partition.shards, threads=task.threads, device=task.device
        )
        # One that is lost is replaced here, with all others set back: Ray alone could not.
        made = self._served.options(
            **means, max_restarts=0, scheduling_strategy="SPREAD", enable_task_events=False
        )
        started = sorted(self._lost)
        for number in started:
            self._actors[number] = made.remote(self._parcel, self._shipment, self._data, number)
        self._lost.clear()
        everybody = [self._actors[each] for each in sorted(self._actors)]
        self._meet(everybody, means)
        self._all([self._actors[number].make.remote() for number in started])

    def _meet(self, actors: list[Any], means: dict[str, float]) -> None:
        """Wait until all actors have found a place, and tell of those that do not."""
        ray, until = self._ray, time.monotonic() + _START_SECONDS
        met = [actor.meet.remote(actors) for actor in actors]
        while (there := len(ray.wait(met, num_returns=len(met), timeout=_TELL_SECONDS)[0])) < len(met):
            free = ray.available_resources()
            wanted, found = (
                ", ".join(f"{count:g} {name}" for name, count in each.items())
                for each in (
                    {name.removeprefix("num_")[:-1].upper(): count for name, count in means.items()},
                    {name: free.get(name, 0.0) for name in ("CPU", "GPU") if name in free or name == "CPU"},
                )
            )
            if time.monotonic() > until:
                raise ClusterUnreachable(
                    f"the Ray cluster did not start {len(met)} shards within {_START_SECONDS:.0f} s, but {there}",
                    expected=f"{wanted} for each",
                    got=f"{found} free on all its machines together",
                    remedy="Wait until other work on it has ended, or choose fewer shards or --threads.",
                )
            logger.warning(
                "%d of %d shards have started; each wants %s, and %s are free in the cluster",
                *(there, len(met), wanted, found),
            )
        try:
            ray.get(met)
        except ray.exceptions.RayActorError as error:
            self._note_lost()
            raise ShardLost(f"a shard was lost while it started: {_said(error)}") from error

    def _all(self, calls: list[Any]) -> list[Any]:
        """Wait for calls of all shards; the first that does not succeed stops those that wait for it."""
        ray, left, answers, lost = self._ray, list(calls), dict[Any, Answer](), None
        asked = None
        while left:
            ready, left = ray.wait(left, num_returns=1, timeout=_LOOK_SECONDS)
            if not ready:
                asked = self._looked(asked)
                continue
            try:
                answers[ready[0]] = ray.get(ready[0])
            except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
                answers[ready[0]], lost = ("lost", None), error
            except ray.exceptions.RayError as error:
                answers[ready[0]] = "failed", SimulationError(f"a shard failed: {_said(error)}")
            if answers[ready[0]][0] in ("failed", "lost"):
                self._stop()
        for state, found in answers.values():
            if state == "failed":
                raise found
        if any(state != "done" for state, _ in answers.values()):
            self._note_lost()
            raise ShardLost("a shard was lost" if lost is None else f"a shard was lost: {_said(lost)}")
        return [answers[call][1] for call in calls]

    def _looked(self, asked: object | None) -> object:
        """Tell how far the first shard is, if it has answered; ask it again."""
        if asked is not None:
            if not self._ray.wait([asked], timeout=0)[0]:
                return asked
            with suppress(self._ray.exceptions.RayError):  # it is lost, as whoever waits for it will hear
                self.during(self._ray.get(asked))
        first = self._actors[min(self._actors)]
        return first.done.remote()

    def _stop(self) -> None:
        for actor in self._actors.values():
            actor.stop.remote()

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

        try:
            yield crew
        except ConnectionError as error:
            raise ClusterUnreachable(
                "the connection to the Ray cluster was lost", got=error, remedy=_GO_ON
            ) from error
