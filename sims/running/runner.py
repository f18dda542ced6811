"""One run under way: advanced, measured, and written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from sims.engine.engine import Arrays
from sims.errors import RunDirectoryError
from sims.metrics.evaluation import Evaluator
from sims.running.checkpoint import read_checkpoint, write_checkpoint
from sims.running.interrupts import interrupts_noted
from sims.running.memory import MemoryEstimate
from sims.running.records import Records, RunDirectory, digest_of, machine, versions
from sims.running.result import Progress, Result
from sims.running.simulation import Simulation
from sims.scenario import Scenario
from sims.tracking.callback import Audience
from sims.world import World

__all__ = ["Runner"]

_SECONDS_BETWEEN_REPORTS = 0.2


class Runner:
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
        audience: Audience,
    ) -> None:
        self.scenario, self.world, self.simulation, self.evaluator = scenario, world, simulation, evaluator
        self.directory, self.memory, self.on_progress = directory, memory, on_progress
        self.records = Records()
        self.done = 0  # evaluations, the one before the start included
        self.started, self.evaluating = time.perf_counter(), 0.0
        self.last_written = 0.0
        self.last_reported = 0.0
        self.asked_to_stop, self.audience = asked_to_stop, audience
        self.rounds = 0.0
        self.interrupted: Callable[[], bool] = lambda: False
        simulation.during = self._noted

    def restore(self, directory: RunDirectory) -> None:
        """Continue from the directory's checkpoint."""
        arrays, evaluations, nodes, self.done = read_checkpoint(
            directory, mapped=self.scenario.engine.paged_to is not None
        )
        _, size = arrays.get("models", (0, self.world.layout.size))
        if size != self.world.layout.size:
            raise RunDirectoryError(
                f"the models in the checkpoint of {directory.path} have another size",
                expected=f"{self.world.layout.size} numbers: without what is frozen",
                got=size,
                remedy="Resume it with the version of gossipfl that started it, or start it again.",
            )
        self.simulation.restore(arrays)
        self.records.restore(evaluations, nodes)

    def run(self) -> Result:
        """Go through all evaluations that are left."""
        path = None if self.directory is None else self.directory.path
        self.audience.started(self.scenario, path, self.records.evaluations)
        try:
            result = self._run()
        except BaseException as error:
            self.audience.failed(error)
            raise
        self.audience.ended(result)
        return result

    def _run(self) -> Result:
        points = self._evaluation_rounds()
        self._report(points[self.done - 1] if self.done else 0.0)
        since_checkpoint = points[self.done - 1] if self.done else 0.0
        reached = self.done > 0 and self._target_reached(self.records.evaluations[-1])
        with interrupts_noted() as self.interrupted:
            while self.done < len(points) and not reached:
                rounds = points[self.done]
                if not self.simulation.advance(
                    rounds, between=lambda: self.interrupted() or self.asked_to_stop()
                ):
                    break
                evaluation = self._evaluate(rounds)
                reached = self._target_reached(evaluation)
                self.done += 1
                self._report(rounds)
                self.audience.evaluated(evaluation)
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
        online, honest = self.simulation.online(), self.world.honest
        found = self.simulation.measured(self.world, self.evaluator, online & honest)
        at = {
            "round": rounds,
            "seconds": self.simulation.seconds(rounds),
            "online": int(online.sum()),
            **self.simulation.counts(),
            **found.network,
            "age_mean": float(found.ages[honest].mean()),
        }
        nodes = self.evaluator.nodes if self.scenario.evaluate.per_node else None
        row = self.records.add(at, found.nodes, nodes)
        self.evaluating += time.perf_counter() - started
        if self.directory is not None and time.perf_counter() - self.last_written > 2.0:
            self.directory.write_records(self.records)
            self.last_written = time.perf_counter()
        return row

    def _target_reached(self, evaluation: dict[str, Any]) -> bool:
        target = self.scenario.stop.accuracy
        return target is not None and evaluation.get("accuracy_mean", -np.inf) >= target

    def _noted(self, rounds: float) -> None:
        self.rounds = rounds
        if (
            self.on_progress is not None
            and time.perf_counter() - self.last_reported > _SECONDS_BETWEEN_REPORTS
        ):
            self._report(rounds)

    def _report(self, rounds: float) -> None:
        self.last_reported = time.perf_counter()
        self.rounds = rounds
        if self.on_progress is not None:
            last = self.records.evaluations[-1] if self.records.evaluations else None
            self.on_progress(
                Progress(
                    rounds=rounds,
                    total=self.scenario.stop.rounds,
                    evaluation=last,
                    memory=self.memory,
                    stopping=self.interrupted(),
                )
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
            "rounds": self.rounds,
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
        elsewhere = not self.scenario.engine.reads_whole_tables
        nobody = np.zeros(0, dtype=np.int64) if elsewhere and not self.scenario.output.rows else None
        rows = self.simulation.models(nobody)
        summary["result"] = digest_of(self.simulation.stored(), self.simulation.ages())
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
            layout=self.world.layout,
            finished=finished,
            summary=summary,
        )
