"""Runs of scenarios from start to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.consensus import consensus_distance
from gossipfl.machine import available_memory
from gossipfl.training import fine_tuned
from sims.engine.engine import Arrays
from sims.engine.programme import Compile
from sims.errors import InvalidScenario, NotSimulable, RunDirectoryError
from sims.metrics.evaluation import Evaluator
from sims.metrics.network_metrics import network_metrics
from sims.running.checkpoint import read_checkpoint, write_checkpoint
from sims.running.interrupts import interrupts_noted
from sims.running.memory import MemoryEstimate, check_memory, estimate_memory
from sims.running.records import Records, RunDirectory, digest_of, machine, versions
from sims.running.simulation import Simulation, simulation_of
from sims.scenario import Scenario, load_scenario
from sims.world import World, build_world
from sims.world.trace_cache import Traces

__all__ = ["Progress", "Result", "run"]

_SECONDS_BETWEEN_REPORTS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run, told before the start, after every evaluation, and a few times a second between.

    Parameters
    ----------
    rounds, total : float
        Rounds done, and rounds in all.
    evaluation : dict, optional
        The last evaluation, as in the records.
    memory : MemoryEstimate
        What the run needs.

    Examples
    --------
    >>> seen, small = [], ["population.nodes=32", "stop.rounds=2", "evaluate.every=1"]
    >>> _ = run("digits", overrides=small, on_progress=seen.append)
    >>> seen[0].rounds, seen[-1].total
    (0.0, 2.0)
    """

    rounds: float
    total: float
    evaluation: dict[str, Any] | None
    memory: MemoryEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a run.

    Parameters
    ----------
    scenario : Scenario
    evaluations : polars.DataFrame
        One row an evaluation.
    nodes : polars.DataFrame, optional
        One row an evaluation and node, with ``evaluate.per_node``.
    rows : Tensor
        All models at the end, ``[N, D]``; none, if they are kept in few bits and ``output.rows`` is false.
    finished : bool
        False if it was interrupted.
    summary : dict
        Versions, machine, seconds and memory.

    Examples
    --------
    >>> result = run("digits", overrides=["population.nodes=32", "stop.rounds=2", "evaluate.every=1"])
    >>> result.finished, result.rows.shape[0]
    (True, 32)
    """

    scenario: Scenario
    evaluations: pl.DataFrame
    nodes: pl.DataFrame | None
    rows: Tensor
    finished: bool
    summary: dict[str, Any]


def run(
    scenario: Scenario | Mapping[str, Any] | Path | str | None,
    *,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    threads: int = 1,
    device: str = "cpu",
    compile_when: Compile = "auto",
    on_progress: Callable[[Progress], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    traces: Traces | None = None,
) -> Result:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario, mapping or path
        A scenario, the tables of one, a TOML file, or the name of a ready-made scenario; None with ``resume``.
    out : path, optional
        Directory for the records; without it nothing is written.
    overrides : sequence of str
        Values that replace those of the file, each as ``"network.loss=0.2"``.
    resume : bool
        Continue the run in ``out`` from its last checkpoint, with the scenario it was started with.
    threads : int
        Cores to use; results do not depend on it beyond rounding.
    device : str
        ``"cpu"``, ``"cuda"`` or any torch device.
    compile_when : {'auto', 'always', 'never'}
        Whether to compile with the C++ compiler: when it saves time, always, or never.
    on_progress : callable, optional
    interrupted : callable, optional
        Called between windows or rounds; once it returns True the run stops as on Ctrl-C.
    traces : Traces, optional
        Traced programmes of earlier runs in this process; those of this one are added.

    Returns
    -------
    Result

    Raises
    ------
    SimulationError
        If the scenario is invalid, cannot be simulated, does not fit into memory, or ``out`` cannot be used.

    Notes
    -----
    On Ctrl-C (in the main thread) the run stops after the current window, writes its records and, with
    ``out``, a checkpoint, and returns with ``finished`` false.

    Examples
    --------
    >>> result = run("digits", overrides=["population.nodes=32", "stop.rounds=2", "evaluate.every=1"])
    >>> result.evaluations["round"].to_list()
    [0.0, 1.0, 2.0]
    """
    directory = None if out is None else RunDirectory(Path(out))
    _check_device(device)
    if resume:
        _refuse_another(scenario, overrides)
        scenario = _scenario_to_resume(directory)
    elif not isinstance(scenario, Scenario):
        scenario = load_scenario(_given(scenario), overrides=overrides)
    world = build_world(scenario, traces=traces)
    memory = estimate_memory(scenario, world)
    check_memory(memory, available_memory())
    simulation = simulation_of(scenario, world, threads=threads, compile_when=compile_when, device=device)
    measured = scenario.evaluate.nodes or scenario.population.nodes
    evaluator = Evaluator(
        world,
        expected_rows=measured * (scenario.stop.rounds / scenario.evaluate.every + 1),
        threads=threads,
        compile_when=compile_when,
        device=device,
    )
    try:
        runner = _Runner(scenario, world, simulation, evaluator, directory, memory, on_progress, interrupted)
        if directory is not None and not resume:
            directory.create(scenario)
        elif directory is not None:
            runner.restore(directory)
        return runner.run()
    finally:
        simulation.close()
        evaluator.close()


def _check_device(device: str) -> None:
    """Require that a device is available."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        raise NotSimulable(
            "models cannot be kept on this device",
            expected=" or ".join(there),
            got=device,
            remedy=str(error).splitlines()[0],
        ) from error


def _refuse_another(scenario: object, overrides: Sequence[str]) -> None:
    if scenario is not None or overrides:
        raise RunDirectoryError(
            "a resumed run continues with the scenario it was started with",
            got=", ".join(map(str, overrides)) or "another scenario",
            remedy="Leave the scenario and its overrides out, or start another run in another directory.",
        )


def _given(scenario: Mapping[str, Any] | Path | str | None) -> Mapping[str, Any] | Path | str:
    if scenario is None:
        raise InvalidScenario(
            "there is no scenario to run",
            remedy="Name a TOML file or a ready-made one (`gossipfl sim scenarios`), or resume an earlier run.",
        )
    return scenario


def _scenario_to_resume(directory: RunDirectory | None) -> Scenario:
    if directory is None:
        raise RunDirectoryError("there is nothing to resume without a directory", remedy="Give `out`.")
    file = directory.path / "scenario.toml"
    if not file.is_file():
        raise RunDirectoryError(
            f"{directory.path} holds no run", remedy="Start one there first, without --resume."
        )
    if directory.is_finished():
        raise RunDirectoryError(
            f"{directory.path} holds a finished run: there is nothing to resume",
            remedy="Read its records, or start another run in another directory.",
        )
    return load_scenario(file)


class _Runner:
    """One run under way."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        simulation: Simulation,
        evaluator: Evaluator,
        directory: RunDirectory | None,
        memory: MemoryEstimate,
        on_progress: Callable[[Progress], None] | None,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self.scenario, self.world, self.simulation, self.evaluator = scenario, world, simulation, evaluator
        self.directory, self.memory, self.on_progress = directory, memory, on_progress
        self.records = Records()
        self.done = 0  # evaluations, the one before the start included
        self.started, self.evaluating = time.perf_counter(), 0.0
        self.last_written = 0.0
        self.last_reported = 0.0
        self.asked_to_stop = asked_to_stop
        if on_progress is not None:
            simulation.during = self._report_at_times

    def restore(self, directory: RunDirectory) -> None:
        """Continue from the directory's checkpoint."""
        arrays, evaluations, nodes, self.done = read_checkpoint(directory)
        self.simulation.restore(arrays)
        self.records.restore(evaluations, nodes)

    def run(self) -> Result:
        """Go through all evaluations that are left."""
        points = self._evaluation_rounds()
        self._report(points[self.done - 1] if self.done else 0.0)
        since_checkpoint = points[self.done - 1] if self.done else 0.0
        reached = self.done > 0 and self._target_reached(self.records.evaluations[-1])
        with interrupts_noted() as interrupted:
            while self.done < len(points) and not reached:
                rounds = points[self.done]
                if not self.simulation.advance(rounds, between=lambda: interrupted() or self.asked_to_stop()):
                    break
                reached = self._target_reached(self._evaluate(rounds))
                self.done += 1
                self._report(rounds)
                every = self.scenario.output.checkpoint_every
                if every is not None and rounds - since_checkpoint >= every:
                    self._checkpoint()
                    since_checkpoint = rounds
        return self._finish(finished=reached or self.done == len(points))

    def _evaluation_rounds(self) -> list[float]:
        every, end = self.scenario.evaluate.every, self.scenario.stop.rounds
        points = [0.0, *(every * k for k in range(1, int(end / every + 1e-9) + 1))]
        return points if end - points[-1] < 1e-9 * end else [*points, end]

    def _evaluate(self, rounds: float) -> dict[str, Any]:
        started = time.perf_counter()
        rows, online = self.simulation.engine.rows_in_parts(), self.simulation.online()
        honest = self.world.honest
        among = online & honest
        nodes = self.evaluator.nodes
        everyone = len(nodes) == len(rows)
        models, ages = self.simulation.models(None if everyone else nodes), self.simulation.ages()
        measured = self.evaluator(self._used(models, ages[nodes]))
        at = {
            "round": rounds,
            "seconds": self.simulation.seconds(rounds),
            "online": int(online.sum()),
            **self.simulation.counts(),
            "consensus_distance": consensus_distance(rows, self.world.layout.shared_size, among),
            **network_metrics(self.world, rows, among),
            "age_mean": float(ages[honest].mean()),
        }
        row = self.records.add(at, measured, nodes if self.scenario.evaluate.per_node else None)
        self.evaluating += time.perf_counter() - started
        if self.directory is not None and time.perf_counter() - self.last_written > 2.0:
            self.directory.write_records(self.records)
            self.last_written = time.perf_counter()
        return row

    def _used(self, models: Tensor, ages: NDArray[np.int64]) -> Tensor:
        """The measured models, fine-tuned if the scenario says so."""
        steps = self.scenario.evaluate.fine_tune
        if steps is None:
            return models
        with torch.no_grad():
            owners, head = self.evaluator.nodes, self.scenario.evaluate.head
            return fine_tuned(self.world.trainer, models, ages, owners, steps=steps, head=head)

    def _target_reached(self, evaluation: dict[str, Any]) -> bool:
        target = self.scenario.stop.accuracy
        return target is not None and evaluation.get("accuracy_mean", -np.inf) >= target

    def _report_at_times(self, rounds: float) -> None:
        if time.perf_counter() - self.last_reported > _SECONDS_BETWEEN_REPORTS:
            self._report(rounds)

    def _report(self, rounds: float) -> None:
        self.last_reported = time.perf_counter()
        if self.on_progress is not None:
            last = self.records.evaluations[-1] if self.records.evaluations else None
            self.on_progress(
                Progress(rounds=rounds, total=self.scenario.stop.rounds, evaluation=last, memory=self.memory)
            )

    def _checkpoint(self) -> None:
        if self.directory is not None:
            self.directory.write_records(self.records)
            # Which part of the rows is models of nodes: with messages, others are on their way.
            n, size = self.scenario.population.nodes, self.world.layout.size
            shape = {"models": np.array([n, size])}
            arrays = {**self.simulation.state(), **self._hostile(), **shape}
            write_checkpoint(self.directory, arrays, self.records, done=self.done)

    def _hostile(self) -> Arrays:
        """Which nodes are hostile, for those who read the rows of all."""
        return {} if self.world.hostile is None else {"hostile": self.world.hostile}

    def _finish(self, *, finished: bool) -> Result:
        phases = self.simulation.phases
        seconds = time.perf_counter() - self.started
        summary = {
            "name": self.scenario.name,
            "finished": finished,
            "seconds": seconds,
            "seconds_evaluating": self.evaluating,
            "seconds_by_phase": {"waves": phases.waves, "prepare": phases.prepare, "execute": phases.execute},
            "updates": phases.updates,
            "gate": self.simulation.decisions(),
            "batch_sizes": {str(size): tier for size, tier in phases.tiers.items()},
            "memory": asdict(self.memory),
            "versions": versions(),
            "machine": machine(),
        }
        compact = self.scenario.engine.is_compact
        nobody = np.zeros(0, dtype=np.int64) if compact and not self.scenario.output.rows else None
        rows = self.simulation.models(nobody)
        summary["result"] = digest_of(self.simulation.engine.stored(), self.simulation.ages())
        if self.directory is not None:
            self.directory.write_records(self.records)
            self.directory.write_summary(summary)
            if not finished:
                self._checkpoint()
            elif self.scenario.output.rows:
                ages = self.simulation.ages()
                arrays = {"rows": rows.cpu().numpy(), "ages": ages, **self._hostile()}
                self.directory.write_arrays("rows.safetensors", arrays)
        return Result(
            scenario=self.scenario,
            evaluations=self.records.table,
            nodes=self.records.nodes,
            rows=rows,
            finished=finished,
            summary=summary,
        )
