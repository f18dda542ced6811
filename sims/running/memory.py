"""Memory estimates, made before a run starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from gossipfl.tasks.samples import leaves
from sims.compiler.timeline import Timeline, conditions_of, event_loop_was_compiled, ticks
from sims.compiler.waves import compile_waves
from sims.engine.batch_sizes import BatchSizes
from sims.engine.batching import Batching
from sims.engine.blocks import block_size, wave_width
from sims.engine.groups import groups_of
from sims.engine.local import NUMBERS_AT_ONCE
from sims.engine.spaces import space_left
from sims.errors import NotEnoughDisk, NotEnoughMemory
from sims.rows.forms import RowForm
from sims.rows.packing import Packing
from sims.running.activations import evaluating_bytes, working_bytes
from sims.running.round_bytes import round_bytes
from sims.scenario import Scenario
from sims.world import World
from sims.world.networks import round_network

__all__ = ["MemoryEstimate", "check_disk", "check_memory", "estimate_memory", "readable"]

_PROBED_NODES = 2000
_OPERATION_BYTES = 22 + 8 * 14  # a window's arrays, and those of compiling it to waves and blocks
_EVENT_BYTES = 45
_MEASURED_AT_ONCE = 1 << 23
_LIBRARY_BYTES = 441_000_000  # Python, torch, numba
_TRACING_BYTES = 95_000_000  # torch's tracing and sympy, where no earlier run has kept what it traced
_EVENT_LOOP_BYTES = 45_000_000
_COMPILING_BYTES = 190_000_000  # of the event loop, which is kept for later runs
_ATTACK_BYTES = 40_000_000
_FIRST_BYTES = _LIBRARY_BYTES + _TRACING_BYTES + _EVENT_LOOP_BYTES + _COMPILING_BYTES + _ATTACK_BYTES
_NOISE_TABLES = 6  # float64, of numbers that are drawn at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes a run needs, by purpose.

    Parameters
    ----------
    rows : int
        Models of the nodes, ages and optimiser states included.
    slots : int
        Models on their way.
    data : int
        Samples, and which node has which.
    timeline : int
        Pending events and the operations of one window.
    measuring : int
        Copies of models that are evaluated, and what is computed at a time.
    base : int
        Libraries.
    disk : int
        Models in a file, which need no memory while nodes are asleep.
    shards : int
        Parts that a simulation is divided into: all else is of one of them.
    """

    rows: int
    slots: int
    data: int
    timeline: int
    measuring: int = 0
    base: int = _LIBRARY_BYTES + _TRACING_BYTES + _EVENT_LOOP_BYTES
    disk: int = 0
    shards: int = 1

    @property
    def total(self) -> int:
        """All together."""
        return self.rows + self.slots + self.data + self.timeline + self.measuring + self.base

    @property
    def elsewhere(self) -> MemoryEstimate:
        """Of the same run on a machine where nothing ran before, so that it traces and compiles."""
        return replace(self, base=max(self.base, _FIRST_BYTES))

    @property
    def largest(self) -> str:
        """The largest part by its name."""
        return max(self._parts, key=lambda part: part[1])[0]

    @property
    def _parts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("rows", self.rows),
            ("models on their way", self.slots),
            ("data", self.data),
            ("timeline", self.timeline),
            ("work", self.measuring),
            ("libraries", self.base),
        )

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {readable(size)}" for name, size in self._parts if size)
        on_disk = f", and {readable(self.disk)} on disk" if self.disk else ""
        each = f" in each of {self.shards} shards" if self.shards > 1 else ""
        return f"{readable(self.total)} ({shown}){on_disk}{each}"


def estimate_memory(scenario: Scenario, world: World) -> MemoryEstimate:
    """Estimate the memory of a run.

    The number of models in flight at once is found by drawing the first rounds of the same network with at most
    2,000 nodes on the complete graph.
    """
    n = scenario.population.nodes
    item = 8 if scenario.precision == "float64" else 4
    data = world.trainer.data
    pool = leaves((data.inputs, data.targets, world.test_inputs))
    held = sum(leaf.numel() * leaf.element_size() for leaf in pool if isinstance(leaf, torch.Tensor))
    held += data.indices.nbytes + data.offsets.nbytes + data.numbers.nbytes
    if scenario.algorithm.in_rounds:
        row, held_at_once = item * world.layout.size + 8, round_bytes(world)
        ends = _link_ends(scenario, world) if held_at_once.end else 0
        return MemoryEstimate(
            rows=int(n * held_at_once.node + ends * held_at_once.end),
            slots=0,
            data=held,
            timeline=0,
            measuring=_measuring_bytes(scenario, world, row),
            base=_base_bytes(scenario, world),
        )
    behaviour, first = world.message_algorithm.behaviour, world.first_nodes()
    packing = Packing.of(first, behaviour.carries)
    form, ages = RowForm.of(scenario.engine), 8 * first.ages[0].numel()
    model = item * packing.width if form is None else form.row_bytes(packing.width, scale_bytes=item)
    paged = scenario.engine.paged_to is not None
    row = ages + (0 if paged else model)
    slots = int(n * _slots_per_node(scenario, world, item * world.layout.size) * 1.125) + 64
    operations = min(2_000_000, int(2 * n * min(scenario.stop.rounds, scenario.evaluate.every)))
    degree = scenario.topology.arguments.get("degree", 0)
    links = n * (4 * int(degree) + 8) if isinstance(degree, int) else 0
    return MemoryEstimate(
        rows=n * (row + item * packing.kept_width + 8),
        slots=slots * row,
        data=held,
        timeline=operations * _OPERATION_BYTES + 4 * n * _EVENT_BYTES + 70 * n + links,
        measuring=_measuring_bytes(scenario, world, item * packing.width),
        disk=(n + 1 + slots) * model if paged else 0,
        base=_base_bytes(scenario, world),
    )


def _base_bytes(scenario: Scenario, world: World) -> int:
    """Bytes of the libraries that a run loads."""
    found = _LIBRARY_BYTES + (0 if Batching.is_known(world) else _TRACING_BYTES)
    if not scenario.algorithm.in_rounds:
        found += _EVENT_LOOP_BYTES
        found += _COMPILING_BYTES if event_loop_was_compiled() else 0
    return found + (_ATTACK_BYTES if scenario.attack is not None else 0)


def _measuring_bytes(scenario: Scenario, world: World, row: int) -> int:
    """Bytes of the models that are evaluated, if not all are, of parts of consensus distances, and of a block."""
    nodes, measured = scenario.population.nodes, scenario.evaluate.nodes
    chosen = 0 if measured is None or measured >= nodes else measured * row
    private = scenario.training.privacy is not None
    drawn = 8 * min(nodes * world.layout.size, NUMBERS_AT_ONCE) * _NOISE_TABLES if private else 0
    computed = max(working_bytes(world), evaluating_bytes(world))
    return 2 * chosen + min(nodes * row, 3 * _MEASURED_AT_ONCE) + computed + drawn


def _link_ends(scenario: Scenario, world: World) -> int:
    """Ends of the links of the first round."""
    matrix = round_network(scenario, class_counts=world.class_counts).sequence.matrix(0)
    return int(matrix.nnz) - scenario.population.nodes


def _slots_per_node(scenario: Scenario, world: World, row_bytes: int) -> float:
    n = min(scenario.population.nodes, _PROBED_NODES)
    small = scenario.model_copy(
        update={
            "population": scenario.population.model_copy(update={"nodes": n}),
            "churn": type(scenario.churn)(),
        }
    )
    none = np.zeros(0, dtype=np.int64)
    conditions = conditions_of(
        small, indptr=none, indices=none.astype(np.int32), message_bytes=world.message_bytes
    )
    timeline, slots = Timeline(conditions), 0
    groups = groups_of(world.message_algorithm.behaviour, BatchSizes.alike(n), trains=True)
    width = wave_width(nodes=n, block=block_size(row_bytes=row_bytes, nodes=n))
    for rounds in sorted({min(each, scenario.stop.rounds) for each in (5.0, 10.0)}):
        for window in timeline.windows(ticks(rounds * scenario.network.period)):
            waves = compile_waves(
                window,
                groups.of,
                capacity=width,
                number_of_groups=len(groups.all),
                training=groups.training,
            )
            timeline.kept(waves.pending)
            slots = max(slots, waves.slots)
    return slots / n


def check_memory(
    estimate: MemoryEstimate,
    available: int,
    *,
    together: int = 1,
    remedy: str = "Simulate fewer nodes, a smaller model, or in float32.",
) -> None:
    """Refuse a run that would not fit; or as many shards together as are on a machine.

    Raises
    ------
    NotEnoughMemory
    """
    if together * estimate.total > available:
        each = f" for each of {together} shards on one machine" if together > 1 else ""
        raise NotEnoughMemory(
            "the run would not fit into memory",
            expected=f"at most {readable(available / together)}{each}",
            got=str(estimate),
            remedy=remedy,
        )


def check_disk(estimate: MemoryEstimate, directory: Path | None) -> None:
    """Refuse a run whose models would not fit into the directory that they are paged to.

    Raises
    ------
    NotEnoughDisk
    """
    if directory is not None and estimate.disk > space_left(directory):
        raise NotEnoughDisk(
            f"the models would not fit on the disk of {directory}",
            expected=f"at most {readable(space_left(directory))}",
            got=readable(estimate.disk),
            remedy="Choose another directory for engine.paged_to, fewer nodes, or engine.rows = 'int8'.",
        )


def readable(size: float) -> str:
    """Bytes with their unit."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
