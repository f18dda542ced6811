"""A job of a sweep in a process of a Ray cluster: done in a directory of its own, whose files it returns.

Like the loop of local processes, it imports nothing heavy by itself: its environment says how many threads to use.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sims.sweeping.means import Means
from topology.parsing import toml_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from sims.cluster.shipping import Shipment
    from sims.sweeping.jobs import Outcome, Stage, State
    from sims.world.trace_cache import Traces

__all__ = ["Board", "Errand", "Returned", "perform"]

_ASK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A job as it is sent: the scenario as text, because its modules are found only where they have arrived.

    Parameters
    ----------
    point, stage, seed, run
        As of a `Job`.
    scenario : str
        TOML.
    left : mapping
        Files of an interrupted run, its checkpoint among them, uint8; none of a new one.
    keeps_files : bool
        Whether the run's files are wanted.
    sweep : str
        Names the sweep under way; with it, its directory on each machine.
    means : Means
    """

    point: int
    stage: Stage
    seed: int
    run: str
    scenario: str
    left: Mapping[str, NDArray[np.uint8]]
    keeps_files: bool
    sweep: str
    means: Means


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What comes back: how the run ended, and its files, uint8."""

    state: State
    evaluations: pl.DataFrame | None
    error: str | None
    seconds: float
    files: Mapping[str, NDArray[np.uint8]]


class Board:
    """How far the runs are, and whether they are to stop: an actor that tasks and driver both talk to."""

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}
        self._stopping = False

    def tell(self, run: str, share: float) -> bool:
        """Note how far a run is, and return whether it is to stop."""
        self._shares[run] = share
        return self._stopping

    def hear(self, *, stop: bool) -> dict[str, float]:
        """Note whether runs are to stop, and return how far each is that began."""
        self._stopping = stop
        return self._shares


def perform(errand: Errand, shipment: Shipment, data: dict[str, Any] | None, board: Any) -> Returned:
    """Do a job.

    Parameters
    ----------
    errand : Errand
    shipment : Shipment
        Files that its scenario names.
    data : dict, optional
        Samples, as of `sims.cluster.shared_data.arrays_of`.
    board : actor handle of Board
    """
    from sims.cluster.shared_data import dataset_of
    from sims.cluster.shipping import place_of, relocated
    from sims.scenario import to_toml
    from sims.scenario.text import scenario_of
    from sims.sweeping.jobs import Job
    from sims.sweeping.single_run import do

    place = place_of(errand.sweep)
    table = relocated(toml_of(errand.scenario), shipment.unpack(place))
    scenario = scenario_of(table, source=f"run {errand.run}")
    job = Job(
        point=errand.point,
        stage=errand.stage,
        seed=errand.seed,
        tuned=None,
        run=errand.run,
        scenario=scenario,
    )
    directory = place / errand.run if errand.keeps_files else None
    if directory is not None and errand.left and not directory.exists():
        directory.mkdir()
        (directory / "scenario.toml").write_text(to_toml(scenario), encoding="utf-8")
        for name, content in errand.left.items():
            content.tofile(directory / name)
    line = _Line(board, errand.run)
    outcome = do(
        job,
        directory,
        errand.means,
        traces=_traces(),
        on_share=line.note,
        interrupted=line.is_to_stop,
        data=None if data is None else dataset_of(data),
    )
    return _returned(outcome, directory)


class _Line:
    """A process's line to the board, which never waits for an answer."""

    def __init__(self, board: Any, run: str) -> None:
        import ray

        self._ray, self._board, self._run = ray, board, run
        self._share, self._asked, self._stopping = 0.0, 0.0, False
        self._answer = board.tell.remote(run, 0.0)

    def note(self, share: float) -> None:
        self._share = share

    def is_to_stop(self) -> bool:
        if not self._stopping and time.monotonic() - self._asked > _ASK_SECONDS:
            self._asked = time.monotonic()
            if self._ray.wait([self._answer], timeout=0)[0]:
                with suppress(self._ray.exceptions.RayError):  # the board is being started elsewhere
                    self._stopping = self._ray.get(self._answer)
                self._answer = self._board.tell.remote(self._run, self._share)
        return self._stopping


def _returned(outcome: Outcome, directory: Path | None) -> Returned:
    import numpy as np

    files = {}
    if directory is not None and directory.exists():
        for file in directory.iterdir():
            is_over = outcome.state == "finished" and file.name == _checkpoint_name()
            if file.is_file() and not is_over and not file.name.startswith("."):
                files[file.name] = np.fromfile(file, dtype=np.uint8)
        shutil.rmtree(directory)
    return Returned(
        state=outcome.state,
        evaluations=outcome.evaluations,
        error=outcome.error,
        seconds=outcome.seconds,
        files=files,
    )


def _checkpoint_name() -> str:
    from sims.running.checkpoint import CHECKPOINT

    return CHECKPOINT


@cache
def _traces() -> Traces:
    """Programmes traced by earlier jobs of this process."""
    from sims.world.trace_cache import Traces

    return Traces()
