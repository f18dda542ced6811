"""Simulations of message-driven algorithms: a timeline, and the engine that executes it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline import Timeline, conditions_of, ticks
from sims.engine import Engine
from sims.engine.engine import Arrays
from sims.engine.part import Everybody, Part
from sims.engine.programme import Compile
from sims.engine.receiving import engine_of
from sims.errors import NotSimulable
from sims.running.simulation import Simulation
from sims.scenario import Scenario
from sims.world import World
from sims.world.networks import NeighbourLists, neighbour_lists

__all__ = ["TIMELINE", "MessageDriven"]

TIMELINE = "timeline."
"""Names of arrays of the timeline begin with this in a checkpoint."""


class MessageDriven(Simulation):
    """A timeline, and the engine that executes it."""

    engine: Engine

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        *,
        threads: int,
        compile_when: Compile,
        device: str,
        neighbours: NeighbourLists | None = None,
        part: Part | None = None,
    ) -> None:
        if scenario.masked_sums is not None:
            raise NotSimulable(
                f"masked_sums are for rounds, and {scenario.algorithm.name!r} is message-driven",
                remedy="Leave the table out, or choose an algorithm such as d_psgd.",
            )
        indptr, indices = neighbours or neighbour_lists(scenario, class_counts=world.class_counts)
        conditions = conditions_of(
            scenario,
            indptr=indptr,
            indices=indices,
            message_bytes=world.message_bytes,
            numbers=world.trainer.data.numbers,
        )
        self._scenario, self._message_bytes = scenario, world.message_bytes
        self._timeline = Timeline(conditions)
        part = part or Everybody(scenario.population.nodes)
        self._numbers = part.numbers
        self.engine = engine_of(
            part.world(world),
            indptr=indptr,
            expected_updates=scenario.population.nodes * scenario.stop.rounds,
            threads=threads,
            compile_when=compile_when,
            device=device,
        )
        self._execution = part.execution(self.engine)

    def advance(self, rounds: float, *, between: Callable[[], bool]) -> bool:
        """Execute windows until ``rounds``."""
        until = ticks(self.seconds(rounds))
        with closing(self._execution.follow(self._timeline, until, begins=self._begin)) as windows:
            for _ in windows:
                if between():
                    self.engine.during(1.0)
                    return False
        self._require_same_ages()
        return True

    def _begin(self, first: int, last: int) -> None:
        """Tell from now on of the rounds that are done when a share of a window is."""
        period = ticks(self._scenario.network.period)
        self.engine.during = lambda share: self.during((first + share * (last - first)) / period)

    def _require_same_ages(self) -> None:
        """Refuse an algorithm whose ages are others than those by which its messages were sent."""
        expected, table = self._timeline.ages, self.engine.table
        if expected is None:
            return
        expected = expected.reshape(self._scenario.population.nodes, -1)[self._numbers].reshape(-1)
        got = table.ages[: table.n].reshape(-1).cpu().numpy()
        if not np.array_equal(expected, got):
            node = int(np.flatnonzero(expected != got)[0]) // (len(got) // table.n)
            raise NotSimulable(
                f"models of {self._scenario.algorithm.name!r} have other ages than its behaviour declares, and "
                "token accounts go by these",
                got=f"{got.reshape(table.n, -1)[node].max()} at node {self._numbers[node]}",
                expected=f"{expected.reshape(table.n, -1)[node].max()}",
                remedy='Correct Behaviour.ages, or set flow.useful = "all".',
            )

    def ages(self) -> NDArray[np.int64]:
        """Ages of all models, ``[N]``."""
        ages = self.engine.table.ages[: self.engine.table.n].cpu().numpy()
        return ages if ages.ndim == 1 else ages.max(axis=1)

    def steps(self) -> NDArray[np.int64]:
        """Training steps that each node has done, ``[N]``."""
        return self.engine.table.steps[: self.engine.table.n]

    def online(self) -> NDArray[np.bool_]:
        """Nodes that are online, bool ``[N]``."""
        return self._timeline.online

    def counts(self) -> dict[str, int]:
        """Totals since the start."""
        counts = self._timeline.counts
        return {
            "messages": counts["sent"],
            **{name: counts[name] for name in ("requests", "lost", "unreachable")},
            "bytes": counts["sent"] * self._message_bytes,
            "updates": self.phases.updates,
            **self.engine.refused,
        }

    def decisions(self) -> dict[str, int]:
        """Decisions of all gates since the start, by their reasons."""
        return self.engine.decisions

    def state(self) -> Arrays:
        """All that a checkpoint needs."""
        return {
            **{f"{TIMELINE}{name}": array for name, array in self._timeline.state().items()},
            **self._execution.state(),
            "updates": np.array([self.phases.updates]),
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint."""
        self._timeline.restore(
            {name.removeprefix(TIMELINE): array for name, array in state.items() if name.startswith(TIMELINE)}
        )
        self._execution.restore(state)
        self.phases.updates = int(state["updates"][0])
