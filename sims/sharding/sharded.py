"""A simulation whose nodes are in several places, as a run sees it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.consensus import Spread
from sims.engine import Phases
from sims.engine.engine import Arrays
from sims.metrics.evaluation import Evaluator
from sims.metrics.network_metrics import mean_model_metrics, observed_columns
from sims.running.measuring import Measured
from sims.running.memory import MemoryEstimate
from sims.running.simulation import Simulation
from sims.scenario import Scenario
from sims.sharding.crew import Crew, ShardLost
from sims.sharding.partition import Partition
from sims.sharding.shard import ShardMeasures, ShardReport
from sims.sharding.states import States
from sims.world import World

__all__ = ["Sharded"]

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
_STRIDE_SECONDS = 0.5  # between two looks at whether to stop
_LOSSES = 5  # in a row, with nothing done between them


class Sharded(Simulation):
    """Shards that advance together; the driver holds no rows, but for evaluations, checkpoints and the end.

    A shard that is lost is started again, and all go back to the last checkpoint, or to the start. What they do
    from there is what they did before.

    Parameters
    ----------
    scenario : Scenario
    crew : Crew
    partition : Partition
    states : States
    memory : MemoryEstimate, optional
        Of one shard.
    """

    def __init__(
        self,
        scenario: Scenario,
        crew: Crew,
        partition: Partition,
        states: States,
        memory: MemoryEstimate | None = None,
    ) -> None:
        self.memory = memory
        self._scenario, self.crew, self.partition, self._states = scenario, crew, partition, states
        crew.during = self._heard
        self._members = [partition.members(each) for each in range(partition.shards)]
        self._era, self._done, self._kept_at = 0, 0.0, 0.0
        self._kept: Arrays | None = None
        self.losses = self._in_vain = 0
        self._is_behind = False
        self._begin()
        self.reports: list[ShardReport] = self._once("report", (0.0,))

    @property
    def phases(self) -> Phases:
        """Seconds of all shards together, and the updates done."""
        every = [report.phases for report in self.reports]
        sums = {each.name: sum(getattr(one, each.name) for one in every) for each in fields(Phases)[:-1]}
        return Phases(**sums, tiers={size: tier for one in every for size, tier in one.tiers.items()})

    def advance(self, rounds: float, *, between: Callable[[], bool]) -> bool:
        """Advance to ``rounds``; ``between`` is asked about twice a second."""
        stride = 1.0
        while self._done < rounds:
            started = time.perf_counter()
            target = min(rounds, self._done + stride)
            self.reports = self._asked("advance", (target,))
            self._done = target
            self.during(self._done)
            if between():
                return False
            took = time.perf_counter() - started
            stride = max(1.0, stride * min(2.0, _STRIDE_SECONDS / max(took, 1e-9)) // 1)
        return True

    def _heard(self, rounds: float) -> None:
        """Tell of rounds that are being done; those that are done again have been told of."""
        if rounds > self._done:
            self.during(rounds)

    def rows(self) -> Tensor:
        """Rows of all nodes, ``[N, D]``, gathered."""
        return torch.from_numpy(self._joined(self._asked("rows")))

    def models(self, nodes: Ints | None = None) -> Tensor:
        """Models to use and to evaluate, ``[k, D]``, gathered."""
        found = self._asked("models", (nodes,))
        wanted = np.arange(len(self.partition.shard)) if nodes is None else nodes
        whole = np.empty((len(wanted), *found[0][1].shape[1:]), dtype=found[0][1].dtype)
        while found:  # each is let go once it is copied
            numbers, models = found.pop()
            places = np.flatnonzero(np.isin(wanted, numbers))
            whole[places] = models[np.searchsorted(numbers, wanted[places])]
            del models
        return torch.from_numpy(whole)

    def stored(self) -> list[NDArray[np.generic]]:
        """Models of all nodes."""
        return [self.models().numpy()]

    def measured(self, world: World, evaluator: Evaluator, among: NDArray[np.bool_]) -> Measured:
        """Evaluate models where they are."""
        found: list[ShardMeasures] = self._asked("measure", (among,))
        nodes = {name: np.empty(len(evaluator.nodes)) for name in evaluator.names}
        for each in found:
            places = np.searchsorted(evaluator.nodes, each.evaluated)
            for name, values in each.nodes.items():
                nodes[name][places] = values
        spreads = {name: Spread.joined([each.spreads[name] for each in found]) for name in found[0].spreads}
        mean = spreads.pop("", None)
        network = {name: spread.distance for name, spread in spreads.items()}
        observed = {name: self._joined([each.observed[name] for each in found]) for name in found[0].observed}
        network |= observed_columns(observed, among)
        if mean is not None:
            network |= mean_model_metrics(world, mean.mean.to(world.dtype))
        return Measured(nodes=nodes, ages=self._joined([each.ages for each in found]), network=network)

    def ages(self) -> Ints:
        """Ages of all models, ``[N]``."""
        return self._joined(self._asked("ages"))

    def steps(self) -> Ints:
        """Training steps that each node has done, ``[N]``."""
        return self._joined(self._asked("steps"))

    def online(self) -> NDArray[np.bool_]:
        """Nodes that are online, bool ``[N]``."""
        return self.reports[0].online

    def seconds(self, rounds: float) -> float:
        """Simulated seconds after so many rounds, which are done."""
        del rounds
        return self.reports[0].seconds

    def counts(self) -> dict[str, int]:
        """Totals since the start."""
        every = [report.counts for report in self.reports]
        return {
            name: sum(counts[name] for counts in every) if name in self.reports[0].own_counts else first
            for name, first in every[0].items()
        }

    def decisions(self) -> dict[str, int]:
        """Decisions of all gates since the start, by their reasons."""
        every = (Counter[str](report.decisions) for report in self.reports)
        return dict(sum(every, Counter[str]()))

    def state(self) -> Arrays:
        """All that a checkpoint needs: what one machine would write. It is kept in case a shard is lost."""
        self._kept, self._kept_at = self._states.joined(self._asked("state")), self._done
        return self._kept

    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint, of shards or of one machine."""
        # Messages have no rounds: shards that are asked for what is done already do nothing.
        self._done = self._kept_at = float(state["progress"][0]) if "progress" in state else 0.0
        self._kept = state
        self._is_behind = True
        self.reports = self._asked("report", (self._done,))

    def close(self) -> None:
        """End all shards."""
        self.crew.close()

    def _asked(self, method: str, given: tuple[Any, ...] = ()) -> list[Any]:
        """Call a method of all shards, in spite of those that are lost meanwhile."""
        while True:
            try:
                if self._is_behind:
                    self._go_back()
                found = self._once(method, given)
            except ShardLost as lost:
                self._noted(lost)
            else:
                self._in_vain = 0
                return found

    def _once(self, method: str, given: tuple[Any, ...]) -> list[Any]:
        return self.crew.ask(method, [given] * self.partition.shards)

    def _noted(self, lost: ShardLost) -> None:
        self.losses, self._in_vain, self._is_behind = self.losses + 1, self._in_vain + 1, True
        if self._in_vain > _LOSSES:
            raise lost
        logger.warning("%s; all shards go back to round %g, and on from there", lost, self._kept_at)

    def _go_back(self) -> None:
        """Bring all shards to where they were, from the last checkpoint on."""
        # Survivors are set to a checkpoint, if there is one, and no clock that would have to be turned back.
        everyone = self._kept is None or not all(report.can_go_back for report in self.reports)
        self.crew.replace(everyone=everyone)
        self._begin()
        if self._kept is not None:
            divided = self._states.divided(self._kept)
            self.crew.ask("restore", [(each,) for each in divided])
        if self._done:
            self._once("advance", (self._done,))
        self._is_behind = False

    def _begin(self) -> None:
        """Begin a new era: messages of earlier ones are ignored."""
        self._era += 1
        self._once("begin", (self._era,))

    def _joined(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Rows of all nodes, of those of each shard's."""
        whole = np.empty((len(self.partition.shard), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for members, part in zip(self._members, parts, strict=True):
            whole[members] = part
        return whole
