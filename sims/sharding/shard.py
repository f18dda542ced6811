"""One shard: the simulation of a part of the nodes, and what is asked of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipfl.consensus import Spread, spread_of
from gossipfl.machine import available_memory
from gossipfl.tasks import Dataset
from sims.engine.engine import Arrays, Phases
from sims.engine.programme import Compile
from sims.metrics.evaluation import Evaluator
from sims.metrics.network_metrics import LAYER
from sims.running.measuring import used
from sims.running.memory import MemoryEstimate, check_memory
from sims.running.message_driven import MessageDriven
from sims.running.round_based import FAILED_SUMS, RoundBased
from sims.scenario import Scenario
from sims.sharding.part import ShardPart
from sims.sharding.partition import Partition
from sims.sharding.post import Post
from sims.world import World, build_world

__all__ = ["Shard", "ShardMeasures", "ShardReport", "ShardTask"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardTask:
    """What all shards of a simulation are set up by.

    Parameters
    ----------
    scenario : Scenario
    partition : Partition
    threads : int
        Of each shard.
    compile_when : {'auto', 'always', 'never'}
    device : str
    memory : MemoryEstimate
        Of one shard.
    together : int
        How many of them share a machine's memory.
    """

    scenario: Scenario
    partition: Partition
    threads: int
    compile_when: Compile
    device: str
    memory: MemoryEstimate
    together: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardReport:
    """How far a shard is.

    Parameters
    ----------
    counts : dict of str to int
        As `Simulation.counts`.
    own_counts : tuple of str
        Which of them are of its own nodes; the others are of the whole network.
    decisions : dict of str to int
        Of its nodes' gates, as `Simulation.decisions`.
    seconds : float
        Simulated, after the rounds that are done.
    online : ndarray
        Nodes of the whole network that are online, bool ``[N]``.
    phases : Phases
    sent, messages : int
        Bytes to other shards, and messages.
    waited : float
        Seconds of waiting for them.
    busy : float
        Seconds of processor time of its process.
    """

    counts: dict[str, int]
    own_counts: tuple[str, ...]
    decisions: dict[str, int]
    seconds: float
    online: Bools
    phases: Phases
    sent: int
    messages: int
    waited: float
    busy: float
    can_go_back: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardMeasures:
    """What a shard measured.

    Parameters
    ----------
    evaluated : ndarray
        Numbers of the nodes that were, int64 ``[k]``.
    nodes : dict of str to ndarray
        Loss and metrics of each of them, ``[k]``.
    ages : ndarray
        Of its B models, int64 ``[B]``.
    spreads : dict of str to Spread
        Of what is shared, by the name of the column; and of whole rows, if the mean model is measured.
    observed : dict of str to ndarray
        What the algorithm measured of each of its nodes, ``[B]``.
    """

    evaluated: Ints
    nodes: dict[str, NDArray[np.float64]]
    ages: Ints
    spreads: dict[str, Spread]
    observed: dict[str, NDArray[np.float64]]


class Shard:
    """The simulation of some nodes.

    Parameters
    ----------
    task : ShardTask
    shard : int
    post : Post
    world : World, optional
        The whole one, if it is in this process already.
    data : Dataset, optional
        What the task would read, if that has been read already.

    Attributes
    ----------
    done : float
        Rounds that are done, while it advances.
    """

    def __init__(
        self,
        task: ShardTask,
        shard: int,
        post: Post,
        *,
        world: World | None = None,
        data: Dataset | None = None,
    ) -> None:
        scenario, self._post = task.scenario, post
        check_memory(task.memory, available_memory(), together=task.together)
        world = build_world(scenario, data=data) if world is None else world
        part = ShardPart(task.partition, shard, post)
        self._in_rounds = scenario.algorithm.in_rounds
        kind = RoundBased if self._in_rounds else MessageDriven
        self._simulation: RoundBased | MessageDriven = kind(
            scenario,
            world,
            threads=task.threads,
            compile_when=task.compile_when,
            device=task.device,
            part=part,
        )
        self.done = 0.0
        self._simulation.during = self._note
        self._world, self._members = self._simulation.engine.world, part.numbers
        measured = scenario.evaluate.nodes or scenario.population.nodes
        self._evaluator = Evaluator(
            self._world,
            expected_rows=measured
            / task.partition.shards
            * (scenario.stop.rounds / scenario.evaluate.every + 1),
            threads=task.threads,
            compile_when=task.compile_when,
            device=task.device,
        )
        chosen = self._evaluator.nodes
        self._evaluator.nodes = chosen[np.isin(chosen, self._members)]

    def begin(self, era: int) -> None:
        """Begin anew, with messages of this era alone."""
        self._post.begin(era)

    def advance(self, rounds: float) -> ShardReport:
        """Advance to ``rounds``, together with the others."""
        self._simulation.advance(rounds, between=lambda: False)
        return self.report(rounds)

    def _note(self, rounds: float) -> None:
        self.done = rounds

    def report(self, rounds: float) -> ShardReport:
        """Tell how far it is."""
        simulation = self._simulation
        return ShardReport(
            counts=simulation.counts(),
            own_counts=("messages", "bytes", "updates", FAILED_SUMS)
            if self._in_rounds
            else ("updates", "refused"),
            decisions=simulation.decisions(),
            seconds=simulation.seconds(rounds),
            online=simulation.online(),
            phases=simulation.phases,
            sent=self._post.bytes,
            messages=self._post.messages,
            waited=self._post.waited,
            busy=time.process_time(),
            can_go_back=not isinstance(simulation, RoundBased) or simulation.engine.clock is None,
        )

    def measure(self, among: Bools) -> ShardMeasures:
        """Evaluate its nodes; ``among`` is of the whole network, bool ``[N]``."""
        world, layout, rows = self._world, self._world.layout, self._simulation.rows()
        among, evaluate, ages = among[self._members], world.scenario.evaluate, self._simulation.ages()
        evaluated = self._evaluator.nodes
        places = np.searchsorted(self._members, evaluated)
        models, found = self._simulation.models(places), {}
        if len(evaluated):
            found = self._evaluator(used(world, models, ages[places], places))
        spreads = {"consensus_distance": spread_of(rows, layout.shared_size, among)}
        if evaluate.layers:
            for entry in layout.entries:
                if entry.group == "shared":
                    columns = rows[:, entry.offset : entry.offset + entry.size]
                    spreads[LAYER + entry.name] = spread_of(columns, entry.size, among)
        if evaluate.mean_model:
            spreads[""] = spread_of(rows, layout.size, among)
        observed = self._simulation.observed()
        return ShardMeasures(evaluated=evaluated, nodes=found, ages=ages, spreads=spreads, observed=observed)

    def models(self, numbers: Ints | None) -> tuple[Ints, NDArray[np.generic]]:
        """Numbers of those of its nodes that are asked for, and their models ``[k, D]``."""
        wanted = self._members if numbers is None else self._members[np.isin(self._members, numbers)]
        found = self._simulation.models(np.searchsorted(self._members, wanted))
        return wanted, found.cpu().numpy()

    def rows(self) -> NDArray[np.generic]:
        """Rows of its nodes, ``[B, D]``."""
        found: NDArray[np.generic] = self._simulation.rows().cpu().numpy()
        return found

    def ages(self) -> Ints:
        """Ages of its models, ``[B]``."""
        return self._simulation.ages()

    def steps(self) -> Ints:
        """Training steps of its nodes, ``[B]``."""
        return self._simulation.steps()

    def state(self) -> Arrays:
        """All that changes, of its nodes."""
        return self._simulation.state()

    def restore(self, state: Arrays) -> None:
        """Continue from its part of a checkpoint."""
        self._simulation.restore({name: np.array(array) for name, array in state.items()})

    def close(self) -> None:
        """End the threads."""
        self._simulation.close()
        self._evaluator.close()
