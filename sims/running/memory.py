"""Memory estimates, made before a run starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from gossipfl.tasks.samples import leaves
from sims.compiler.timeline import Timeline, conditions_of, longest_window, ticks
from sims.compiler.waves import compile_waves
from sims.engine.ahead import MOST_OPERATIONS
from sims.engine.batch_sizes import BatchSizes
from sims.engine.blocks import block_size, wave_width
from sims.engine.groups import groups_of
from sims.engine.programme import Compile
from sims.engine.spaces import space_left
from sims.errors import NotEnoughDisk, NotEnoughMemory
from sims.rows.forms import RowForm
from sims.rows.packing import Packing
from sims.running.activations import evaluating_bytes, training_bytes
from sims.running.library_bytes import FIRST_BYTES, SMALLEST_BYTES, compiler_bytes, library_bytes
from sims.running.round_bytes import round_bytes
from sims.scenario import Scenario
from sims.world import World
from sims.world.networks import round_network

__all__ = ["MemoryEstimate", "check_disk", "check_memory", "estimate_memory", "readable"]

_PROBED_NODES = 2000
_DRAWN_BYTES, _ARRANGED_BYTES = 37, 97  # of an operation of a window, and of its place in waves and blocks
_EVENT_BYTES = 45
_MEASURED_AT_ONCE = 1 << 23


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
    exchanged : int
        Rows that cross between shards, as they are sent, received and combined.
    shards : int
        Parts that a simulation is divided into: all else is of one of them.
    compiler : int
        Of the C++ compiler, a process beside this one that ends before the first round; not in `total`.
    """

    rows: int
    slots: int
    data: int
    timeline: int
    measuring: int = 0
    base: int = SMALLEST_BYTES
    disk: int = 0
    exchanged: int = 0
    shards: int = 1
    compiler: int = 0

    @property
    def total(self) -> int:
        """All together."""
        return sum(size for _, size in self._parts)

    @property
    def elsewhere(self) -> MemoryEstimate:
        """Of the same run on a machine where nothing ran before, so that it traces and compiles."""
        return replace(self, base=max(self.base, FIRST_BYTES))

    @property
    def largest(self) -> str:
        """The largest part by its name."""
        return max(self._parts, key=lambda part: part[1])[0]

    @property
    def _parts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("rows", self.rows),
            ("models on their way", self.slots),
            ("rows of other shards", self.exchanged),
            ("data", self.data),
            ("timeline", self.timeline),
            ("work", self.measuring),
            ("libraries", self.base),
        )

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {readable(size)}" for name, size in self._parts if size)
        on_disk = f", and {readable(self.disk)} on disk" if self.disk else ""
        each = f" in each of {self.shards} shards" if self.shards > 1 else ""
        beside = f", beside {readable(self.compiler)} of the C++ compiler" if self.compiler else ""
        return f"{readable(self.total)} ({shown}){on_disk}{each}{beside}"


def estimate_memory(
    scenario: Scenario, world: World, *, threads: int = 1, compile_when: Compile = "auto"
) -> MemoryEstimate:
    """Estimate the memory of a run: the most that is resident of its process.

    The number of models in flight at once is found by drawing the first rounds of the same network with at most
    2,000 nodes on the complete graph.
    """
    n = scenario.population.nodes
    item = 8 if scenario.precision == "float64" else 4
    data = world.trainer.data
    pool = leaves((data.inputs, data.targets, world.test_inputs))
    held = sum(leaf.numel() * leaf.element_size() for leaf in pool if isinstance(leaf, torch.Tensor))
    held += data.indices.nbytes + data.offsets.nbytes + data.numbers.nbytes
    base = library_bytes(scenario, world, compile_when)
    compiler = compiler_bytes(scenario, world, compile_when)
    if scenario.algorithm.in_rounds:
        row, held_at_once = item * world.layout.size + 8, round_bytes(world)
        ends = _link_ends(scenario, world) if held_at_once.end else 0
        return MemoryEstimate(
            rows=int(n * held_at_once.node + ends * held_at_once.end),
            slots=0,
            data=held,
            timeline=0,
            measuring=_measuring_bytes(scenario, world, row, threads),
            base=base,
            compiler=compiler,
        )
    behaviour, first = world.message_algorithm.behaviour, world.first_nodes()
    packing = Packing.of(first, behaviour.carries)
    form, ages = RowForm.of(scenario.engine), 8 * first.ages[0].numel()
    model = item * packing.width if form is None else form.row_bytes(packing.width, scale_bytes=item)
    paged = scenario.engine.paged_to is not None
    row = ages + (0 if paged else model)
    slots = int(n * _slots_per_node(scenario, world, item * world.layout.size) * 1.125) + 64
    degree = scenario.topology.arguments.get("degree", 0)
    links = n * (4 * int(degree) + 8) if isinstance(degree, int) else 0
    return MemoryEstimate(
        rows=n * (row + item * packing.kept_width + 8),
        slots=slots * row,
        data=held,
        timeline=_window_bytes(scenario, threads, compile_when) + 4 * n * _EVENT_BYTES + 70 * n + links,
        measuring=_measuring_bytes(scenario, world, item * packing.width, threads),
        disk=(n + 1 + slots) * model if paged else 0,
        base=base,
        compiler=compiler,
    )


def _window_bytes(scenario: Scenario, threads: int, compile_when: Compile) -> int:
    """Bytes of the operations of a window, and of the next one where a thread draws that meanwhile."""
    n = scenario.population.nodes
    due, most = int(2 * n * min(scenario.stop.rounds, scenario.evaluate.every)), longest_window(n)
    found = min(due, most) * (_DRAWN_BYTES + _ARRANGED_BYTES)
    if threads > 1 and compile_when != "never" and most < due and most <= MOST_OPERATIONS:
        found += most * _ARRANGED_BYTES + 4 * n * _EVENT_BYTES  # and events as they were, to go back to
    return found


def _measuring_bytes(scenario: Scenario, world: World, row: int, threads: int) -> int:
    """Bytes of the models that are evaluated, if not all are, of parts of consensus distances, and of blocks."""
    nodes, measured = scenario.population.nodes, scenario.evaluate.nodes
    chosen = 0 if measured is None or measured >= nodes else measured * row
    at_once = min(threads, nodes if measured is None else measured)
    computed = max(training_bytes(world, threads), at_once * evaluating_bytes(world))
    return 2 * chosen + min(nodes * row, 3 * _MEASURED_AT_ONCE) + computed


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
