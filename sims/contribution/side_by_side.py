"""Simulations of many coalitions side by side: all their nodes as the rows of one simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.attacks import Aimed
from gossipfl.training import NodeData
from sims.contribution.alone import trained_alone
from sims.contribution.networks import CoalitionNetworks, Members
from sims.engine.programme import Compile
from sims.errors import NotSimulable
from sims.running.choice import simulation_of
from sims.scenario.network import TraceChurn
from sims.scenario.scenario import PopulationSection
from sims.world import World

__all__ = ["Outcome", "SideBySide", "world_of"]

Ints = NDArray[np.int64]

_LARGEST_BATCH = 2**26  # numbers of all rows together: 256 MiB in float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of one coalition.

    Parameters
    ----------
    members : tuple of int
        In increasing order.
    rows : Tensor
        Their last models, ``[members, D]``.
    steps : ndarray
        Training steps of each, int64 ``[members]``.
    """

    members: Members
    rows: Tensor
    steps: Ints


class SideBySide:
    """Simulates coalitions of a scenario's nodes.

    A node of a coalition has the samples, the batches, the speed and the first model that it has in the scenario.
    In rounds it learns in its coalition exactly as in a run of that coalition alone; in message-driven algorithms
    the times of messages are drawn anew for every coalition.

    Parameters
    ----------
    world : World
    threads : int
    compile_when : {'auto', 'always', 'never'}
    largest_batch : int
        Numbers of all rows that are simulated at a time.

    Raises
    ------
    NotSimulable
        If the scenario is not one that parts of its nodes could do as well.
    """

    def __init__(
        self,
        world: World,
        *,
        threads: int = 1,
        compile_when: Compile = "never",
        largest_batch: int = _LARGEST_BATCH,
    ) -> None:
        _require_divisible(world)
        self._world, self._threads, self._compile_when = world, threads, compile_when
        self._networks = CoalitionNetworks(world.scenario, class_counts=world.class_counts)
        self._most_rows = max(world.scenario.population.nodes, largest_batch // world.layout.size)
        self.rows_simulated = 0

    def __call__(self, coalitions: Sequence[Members]) -> Iterator[Outcome]:
        """Simulate coalitions of two or more members each; as many at a time as fit into memory."""
        batch: list[Members] = []
        rows = 0
        for members in coalitions:
            if batch and rows + len(members) > self._most_rows:
                yield from self._simulated(batch)
                batch, rows = [], 0
            batch.append(members)
            rows += len(members)
        if batch:
            yield from self._simulated(batch)

    def _simulated(self, coalitions: list[Members]) -> Iterator[Outcome]:
        nodes = np.concatenate([np.array(members, dtype=np.int64) for members in coalitions])
        world = world_of(self._world, nodes)
        scenario, in_rounds = world.scenario, world.scenario.algorithm.in_rounds
        simulation = simulation_of(
            scenario,
            world,
            threads=self._threads,
            compile_when=self._compile_when,
            device="cpu",
            mixing=self._networks.rounds(coalitions) if in_rounds else None,
            neighbours=None if in_rounds else self._networks.neighbours(coalitions),
        )
        try:
            simulation.advance(scenario.stop.rounds, between=lambda: False)
            rows, steps = simulation.rows().clone(), simulation.steps().copy()
        finally:
            simulation.close()
        self.rows_simulated += len(nodes)
        ends = np.cumsum([len(members) for members in coalitions])
        for members, start, end in zip(coalitions, [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            yield Outcome(members=members, rows=rows[start:end], steps=steps[start:end])

    def alone(self, steps: Ints) -> Tensor:
        """Train every node on its own samples only, for its number of steps: rows ``[N, D]``."""
        return trained_alone(self._world.trainer, self._world.first_rows(), steps)


def world_of(world: World, nodes: Ints) -> World:
    """A world whose node k is node ``nodes[k]`` of this one, as often as it occurs.

    Parameters
    ----------
    world : World
    nodes : ndarray
        Int64 ``[N']``.
    """
    data = world.trainer.data
    parts = [data.indices[data.offsets[node] : data.offsets[node + 1]] for node in nodes.tolist()]
    repeated = NodeData.partitioned(data.inputs, data.targets, parts, numbers=data.numbers[nodes])
    scenario = world.scenario.model_copy(update={"population": PopulationSection(nodes=len(nodes))})
    return replace(
        world,
        scenario=scenario,
        trainer=replace(world.trainer, data=repeated),
        hostile=None if world.hostile is None else world.hostile[nodes],
    )


def _require_divisible(world: World) -> None:
    scenario = world.scenario
    if not scenario.training.enabled:
        raise NotSimulable("nodes that do not train contribute no learning", remedy="Set training.enabled.")
    if isinstance(scenario.churn.process, TraceChurn) or any(
        event.action == "join" for event in scenario.churn.events
    ):
        raise NotSimulable(
            "churn: a trace and planned joins are of single nodes, and coalitions have only some of these",
            remedy="Leave them out, or choose a process such as sessions.",
        )
    if scenario.attack is not None and isinstance(scenario.attack.build(), Aimed):
        raise NotSimulable(
            f"attack {scenario.attack.name!r} looks at everybody, and coalitions are simulated side by side",
            remedy="Choose an attack of nodes by themselves, such as sign_flip or label_flip.",
        )
