"""Workers of a sweep on a Ray cluster: jobs as tasks, whose records come back through the object store."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipfl.recent import RecentMap
from sims.cluster.ray_cluster import connected
from sims.cluster.shared_data import samples_of
from sims.cluster.shipping import clear_machines, paths_in, shipment_of
from sims.errors import ClusterUnreachable, NotSimulable
from sims.running.checkpoint import CHECKPOINT
from sims.running.interrupts import interrupts_noted
from sims.running.records import RunDirectory
from sims.scenario import Scenario, to_toml
from sims.sweeping.jobs import Assignment, Outcome
from sims.sweeping.means import Means
from sims.sweeping.ray_task import Board, Errand, Returned, perform
from sims.sweeping.workers import Room
from sims.tracking.tracker import TRACKING
from topology.parsing import toml_of

__all__ = ["RayWorkers", "ray_workers"]

_TRIES = 3
_LOOK_UP_SECONDS = 0.5
_STORED = 8  # data sets, and sets of files, that are kept for runs to come
_WAITING_EACH = 2  # tasks that are sent for each that can run, so that no machine waits for the next


@contextmanager
def ray_workers(on: str, *, jobs: int | None, means: Means) -> Iterator[RayWorkers]:
    """Give the workers of a Ray cluster, and leave it at the end.

    Parameters
    ----------
    on : str
        As for `sims.cluster.ray_cluster.connected`.
    jobs : int, optional
        At most so many at a time; by default as many as the cluster has room for.
    means : Means

    Raises
    ------
    SettingError, ClusterUnreachable, ClusterMismatch, NotSimulable
        If the cluster cannot be used, or no machine of it has what a run needs.
    """
    with connected(on, cpus=None if jobs is None else jobs * means.threads) as ray:
        yield RayWorkers(ray, jobs=jobs, means=means)


@dataclass(slots=True)
class _UnderWay:
    """A job that is given out, with references to its files and samples: the same when it is given again."""

    given: Assignment
    shipment: Any
    data: Any
    tries: int = 1


@dataclass(slots=True)
class _Stored:
    """References to what has been put into the object store, by what it was made from."""

    shipments: RecentMap[Any, Any] = field(default_factory=lambda: RecentMap(_STORED))
    data: RecentMap[str, Any] = field(default_factory=lambda: RecentMap(_STORED))


class RayWorkers:
    """Tasks of a Ray cluster that do jobs; one whose process dies is given out again.

    Parameters
    ----------
    ray : module
        Connected.
    jobs : int, optional
        At most so many at a time.
    means : Means
    """

    def __init__(self, ray: ModuleType, *, jobs: int | None, means: Means) -> None:
        self._ray, self._jobs, self._means = ray, jobs, means
        self._machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._require_machine()
        self._perform = ray.remote(perform)
        self._sweep, self._stored = secrets.token_hex(8), _Stored()
        self._under_way: dict[Any, _UnderWay] = {}
        self._shares: dict[str, float] = {}

    @property
    def room(self) -> Room:
        """The memory of the largest machine: where a run fits, and when, is Ray's to say."""
        size = int(max(machine.get("memory", 0) for machine in self._machines))
        return Room(size=size, where="on the largest machine of the cluster")

    def run(
        self,
        take: Callable[[], Assignment | None],
        done: Callable[[Outcome], None],
        *,
        on_wait: Callable[[float], None],
    ) -> bool:
        """Do jobs; see `sims.sweeping.workers.Workers`."""
        board = self._ray.remote(Board).options(num_cpus=0, max_restarts=-1).remote()
        asked = False
        with interrupts_noted() as interrupted:
            try:
                while True:
                    while not interrupted() and self._has_room() and (given := take()) is not None:
                        scenario = given.job.scenario
                        self._send(_UnderWay(given, self._shipment(scenario), self._data(scenario)), board)
                    if interrupted() and not asked:
                        asked = True
                        self._look_up(board, stop=True)  # which runs have begun
                        self._withdraw_waiting()
                    if not self._under_way:
                        return not interrupted()
                    ready, _ = self._ray.wait(list(self._under_way), timeout=_LOOK_UP_SECONDS)
                    for reference in ready:
                        self._hear(reference, board, done, again=not asked)
                    if not ready or asked:  # else the next run is sent first
                        self._look_up(board, stop=asked)
                    on_wait(sum(self._shares.get(it.given.job.run, 0.0) for it in self._under_way.values()))
            except ConnectionError as error:
                raise ClusterUnreachable(
                    "the connection to the Ray cluster was lost",
                    got=error,
                    remedy="Continue with --resume, here or there: what has come back is kept.",
                ) from error
            finally:
                self._end(board)

    def _has_room(self) -> bool:
        if self._jobs is not None:
            return len(self._under_way) < self._jobs
        at_once = sum(int(machine.get("CPU", 0) // self._means.threads) for machine in self._machines)
        return len(self._under_way) < _WAITING_EACH * max(1, at_once)

    def _require_machine(self) -> None:
        most = max((machine.get("CPU", 0) for machine in self._machines), default=0)
        if most < self._means.threads:
            raise NotSimulable(
                "no machine of the cluster has the cores that a run is to use",
                expected=f"at least {self._means.threads}",
                got=f"{most:g}",
                remedy="Use fewer --threads.",
            )
        if self._means.is_card and not any(machine.get("GPU", 0) >= 1 for machine in self._machines):
            raise NotSimulable("no machine of the cluster has a GPU", got=f"device {self._means.device}")

    def _send(self, it: _UnderWay, board: Any) -> None:
        given = it.given
        files = given.directory
        errand = Errand(
            point=given.job.point,
            stage=given.job.stage,
            seed=given.job.seed,
            run=given.job.run,
            scenario=to_toml(given.job.scenario),
            left={} if files is None else _left_in(files),
            keeps_files=files is not None,
            sweep=self._sweep,
            means=self._means,
        )
        task = self._perform.options(
            name=f"run {given.job.run}",
            num_cpus=self._means.threads,
            num_gpus=1 if self._means.is_card else 0,
            memory=given.memory,
            max_retries=0,  # the driver tries again, and can say what happened
            runtime_env={"env_vars": self._means.environment},
        )
        self._shares.pop(given.job.run, None)
        self._under_way[task.remote(errand, it.shipment, it.data, board)] = it

    def _shipment(self, scenario: Scenario) -> Any:
        paths = paths_in(toml_of(to_toml(scenario)))
        if paths not in self._stored.shipments:
            self._stored.shipments[paths] = self._ray.put(shipment_of(*paths))
        return self._stored.shipments[paths]

    def _data(self, scenario: Scenario) -> Any:
        """Samples in the object store, read once for all runs of the task; None if each reads them itself."""
        section = scenario.task
        if section.nodes:
            return None
        key = json.dumps([section.name, section.options, str(scenario.modules)], sort_keys=True, default=repr)
        if key not in self._stored.data:
            arrays = samples_of(scenario)
            self._stored.data[key] = None if arrays is None else self._ray.put(arrays)
        return self._stored.data[key]

    def _hear(self, reference: Any, board: Any, done: Callable[[Outcome], None], *, again: bool) -> None:
        it = self._under_way.pop(reference)
        job = it.given.job
        lost = self._ray.exceptions
        try:
            returned: Returned = self._ray.get(reference)
        except lost.TaskCancelledError:
            return
        except (
            lost.WorkerCrashedError,
            lost.NodeDiedError,
            lost.OutOfMemoryError,
            lost.ObjectLostError,
        ) as error:
            if it.tries < _TRIES and again:
                self._send(replace(it, tries=it.tries + 1), board)
            else:
                done(Outcome(job=job, state="failed", error=_epitaph(error, it.tries)))
            return
        except lost.RayError as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            done(Outcome(job=job, state="failed", error=said))
            return
        strange = [name for name in returned.files if Path(name).name != name or name.startswith(".")]
        if strange:  # would be written elsewhere
            done(Outcome(job=job, state="failed", error=f"it returned a file named {strange[0][:99]!r}"))
            return
        self._write(it.given, returned)
        done(
            Outcome(
                job=job,
                state=returned.state,
                evaluations=returned.evaluations,
                error=returned.error,
                seconds=returned.seconds,
            )
        )

    def _write(self, given: Assignment, returned: Returned) -> None:
        """Write a run's files, the one that says it has finished last."""
        if given.directory is None:
            return
        given.directory.mkdir(parents=True, exist_ok=True)
        directory = RunDirectory(given.directory)
        for name in sorted(returned.files, key="run.json".__eq__):
            if name == "scenario.toml":  # there with the paths of another machine
                directory.write_text(name, to_toml(given.job.scenario))
                continue
            with directory.replacing(name) as temporary:
                returned.files[name].tofile(temporary)

    def _look_up(self, board: Any, *, stop: bool) -> None:
        with suppress(self._ray.exceptions.RayError, TimeoutError):  # the board is being started elsewhere
            self._shares = self._ray.get(board.hear.remote(stop=stop), timeout=_LOOK_UP_SECONDS)

    def _withdraw_waiting(self) -> None:
        for reference, it in self._under_way.items():
            if it.given.job.run not in self._shares:
                self._ray.cancel(reference)

    def _end(self, board: Any) -> None:
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            for reference in self._under_way:
                self._ray.cancel(reference, force=True)
            self._under_way.clear()
            self._ray.kill(board)
            clear_machines(self._ray, self._sweep)


def _left_in(directory: Path) -> dict[str, NDArray[np.uint8]]:
    """What an interrupted run goes on from."""
    if not (directory / CHECKPOINT).is_file():
        return {}
    files = [directory / name for name in (CHECKPOINT, TRACKING)]
    return {file.name: np.fromfile(file, dtype=np.uint8) for file in files if file.is_file()}


def _epitaph(error: Exception, tries: int) -> str:
    what = {"OutOfMemoryError": "ran out of memory", "NodeDiedError": "was on a machine that was lost"}
    said = what.get(type(error).__name__, "ended unexpectedly")
    return f"its process {said}" + (f", {tries} times" if tries > 1 else "")
