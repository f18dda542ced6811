"""A pool of worker processes; one that dies loses only its own job."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from gossipfl.machine import available_memory
from sims.errors import WorkersNotStarted
from sims.running.interrupts import interrupts_noted
from sims.sweeping.jobs import Assignment, Job, Outcome
from sims.sweeping.means import Means
from sims.sweeping.worker import work
from sims.sweeping.workers import Room

__all__ = ["Pool"]

_LOOK_UP_SECONDS = 0.5


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    job: Job | None = None
    share: float = 0.0


class Pool:
    """Worker processes that do jobs.

    Parameters
    ----------
    size : int
        Number of processes, started as jobs arrive.
    means : Means
        Of each run.
    """

    def __init__(self, *, size: int, means: Means) -> None:
        self._size, self._means = size, means
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")

    @property
    def room(self) -> Room:
        """Memory of this machine, which all its processes share."""
        return Room(size=available_memory(), shared_by=self._size)

    def run(
        self,
        take: Callable[[], Assignment | None],
        done: Callable[[Outcome], None],
        *,
        on_wait: Callable[[float], None],
    ) -> bool:
        """Do jobs; see `sims.sweeping.workers.Workers`. A second Ctrl-C kills the processes.

        Raises
        ------
        WorkersNotStarted
        """
        asked = False
        with interrupts_noted() as interrupted:
            try:
                while True:
                    while not interrupted() and self._has_room() and (given := take()) is not None:
                        self._give(given)
                    busy = [worker for worker in self._workers if worker.job is not None]
                    if not busy:
                        return not interrupted()
                    if interrupted() and not asked:
                        asked = True
                        for worker in busy:
                            with suppress(OSError):  # it has just died, and will be heard of
                                worker.connection.send(None)
                    for ready in wait([worker.connection for worker in busy], timeout=_LOOK_UP_SECONDS):
                        self._hear(next(worker for worker in busy if worker.connection is ready), done)
                    on_wait(sum(worker.share for worker in self._workers))
            finally:
                self._end()

    def _end(self) -> None:
        for worker in self._workers:
            if worker.job is not None:
                worker.process.kill()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()

    def _has_room(self) -> bool:
        return len(self._workers) < self._size or any(worker.job is None for worker in self._workers)

    def _give(self, given: Assignment) -> None:
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._started()
        worker.job, worker.share = given.job, 0.0
        worker.connection.send((given.job, given.directory))

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._means), name="sweep")
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _hear(self, worker: _Worker, done: Callable[[Outcome], None]) -> None:
        job = worker.job
        assert job is not None  # noqa: S101 - only workers with a job are listened to
        try:
            said = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
            done(Outcome(job=job, state="failed", error=_epitaph(worker.process)))
            return
        if isinstance(said, Outcome):
            worker.job, worker.share = None, 0.0
            done(said)
        elif isinstance(said, float):
            worker.share = said
        else:
            worker.ready = True

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.ready:
            raise WorkersNotStarted(
                f"a process of the sweep ended before it was ready; {_epitaph(worker.process)}",
                remedy="In a script, call sweep() under `if __name__ == '__main__':`, because the processes "
                "import the script.",
            )


def _epitaph(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"its process was ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
