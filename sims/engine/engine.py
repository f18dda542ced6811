"""The engine of message-driven simulations: windows of a timeline, wave by wave, on one table of rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.outgoing import Pipeline
from gossipfl.tasks.failures import training_failures_named
from sims.compiler.operations import ON_ANSWER
from sims.compiler.timeline import Timeline, Window
from sims.engine.ahead import arranged_windows
from sims.engine.arranging import Arranged, Arranger
from sims.engine.batch_sizes import BatchSizes
from sims.engine.batching import Batching
from sims.engine.block import UpdateBlock
from sims.engine.blocks import Blocks, block_size, card_block_size
from sims.engine.buffers import batch_buffer, batches_of, pool_of
from sims.engine.device import device_of
from sims.engine.first_table import first_table
from sims.engine.groups import groups_of
from sims.engine.kept_table import KeptTable
from sims.engine.models_of_table import ModelsOfTable
from sims.engine.native_blocks import NativeBlocks
from sims.engine.native_library import library
from sims.engine.programme import Compile, Programme
from sims.engine.table import Outcome, Table
from sims.engine.workers import Workers, torch_threads
from sims.rows.packing import Packing
from sims.world import World

__all__ = ["Arrays", "Engine", "Phases"]

Arrays: TypeAlias = dict[str, NDArray[np.generic]]
T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Phases:
    """Seconds of wall time spent in each phase of a run, and the updates done.

    Waves may be arranged by a thread while another executes those before.
    """

    waves: float = 0.0
    prepare: float = 0.0
    execute: float = 0.0
    updates: int = 0
    blocks: int = 0
    tiers: dict[int, str] = field(default_factory=dict)


class Engine(ModelsOfTable):
    """The models of a message-driven simulation.

    Parameters
    ----------
    world : World
    expected_updates : float
        Expected number of updates of the run; decides whether compiling is worth it.
    threads : int
        Blocks of a wave that are computed side by side.
    block : int, optional
        Rows in a block; by default chosen by the size of a row.
    compile_when : {'auto', 'always', 'never'}
    device : str
        A torch device.

    Attributes
    ----------
    during : callable
        Told while a window is executed which share of it is done.
    """

    _needs_no_window = True  # besides its waves, so that the next one may be drawn

    def __init__(
        self,
        world: World,
        *,
        expected_updates: float = 0.0,
        threads: int = 1,
        block: int | None = None,
        compile_when: Compile = "auto",
        device: str = "cpu",
    ) -> None:
        self.world, algorithm = world, world.message_algorithm
        self.device = device_of(device)
        data, first = world.trainer.data, world.first_nodes()
        n, everybody = len(data.counts), world.scenario.population.nodes
        self.packing = Packing.of(first, algorithm.behaviour.carries)
        on_cpu = self.device.type == "cpu"
        row_bytes = first.rows.element_size() * self.packing.width
        chosen = block_size if on_cpu else card_block_size
        self.block = block or chosen(row_bytes=row_bytes, nodes=everybody)
        self._batching = Batching.of(world)
        self.vectorised = self._batching.holds
        self.workers = Workers(threads if self.vectorised and on_cpu else 1)
        self.table = first_table(first, self.packing, world.scenario, nodes=n, device=self.device)
        self.phases = Phases()
        self.during: Callable[[float], None] = lambda share: None
        trains = world.scenario.training.enabled
        if self.vectorised and trains:
            batches = BatchSizes.of_world(world)
        else:  # nothing depends on how many samples there are
            batches = BatchSizes.alike(n, min(int(data.counts.min()), world.scenario.training.batch_size))
        self._groups = groups_of(algorithm.behaviour, batches, trains=trains)
        self._arranger = Arranger(self._groups, nodes=n, block=self.block, threads=threads)
        self._updates = [
            UpdateBlock(
                trainer=world.trainer,
                batch=batches_of(data),
                algorithm=algorithm,
                packing=self.packing,
                operation=group.operation,
                train=group.trains,
                outgoing=self._outgoing(),
            )
            for group in self._groups.all
        ]
        self._numbers = None if self._outgoing().is_lossless else np.append(data.numbers, everybody)
        self._programmes: dict[int, Programme] = {}
        self._expected_blocks = expected_updates / self.block
        self._compile_when: Compile = compile_when
        local_steps = world.scenario.training.local_steps
        pool = pool_of(data, self.device) if self.vectorised else None
        self._buffers = [
            [
                batch_buffer(
                    pool, rows=self.block, local_steps=local_steps, size=group.batch, padded=group.padded
                )
                for group in self._groups.all
                if pool is not None
            ]
            for _ in range(self.workers.threads)
        ]

        self._native = NativeBlocks(world.trainer, self._groups.all, self._buffers)

    def follow(
        self, timeline: Timeline, until: int, *, begins: Callable[[int, int], None] = lambda first, last: None
    ) -> Generator[None, None, None]:
        """Execute windows; where other threads share blocks, one of them draws the next window meanwhile."""
        with closing(arranged_windows(timeline, self, until)) as windows:
            for arranged in windows:
                begins(*arranged.span)
                self._carry_out(arranged)
                yield

    def execute(self, window: Window) -> NDArray[np.int64]:
        """Execute a window.

        Returns
        -------
        ndarray
            For each pending message its reference from now on (`Timeline.kept`).
        """
        arranged = self.arrange(window)
        self._carry_out(arranged)
        return arranged.waves.pending

    def arrange(self, window: Window) -> Arranged:
        """Arrange a window, in any thread."""
        started = time.perf_counter()
        arranged = self._arranger(window, measured=self._is_native())
        self.phases.waves += time.perf_counter() - started
        return arranged

    def aside(self, function: Callable[[], T]) -> Future[T] | None:
        """Call a function in another thread while a window is carried out, if threads share its blocks."""
        return self.workers.aside(function) if self._needs_no_window and self._native.shares else None

    def _carry_out(self, arranged: Arranged) -> None:
        """Change the models as a window's operations do."""
        started, waves, native = time.perf_counter(), arranged.waves, self._is_native()
        self.table.make_room(waves.slots)
        with torch.no_grad(), torch_threads(), training_failures_named():
            # On one thread, too: torch's others would stay awake after it, on cores of those that share blocks.
            if len(waves.first_node):
                self.table.copy(
                    *(torch.from_numpy(a).to(self.device) for a in (waves.first_node, waves.first_keep))
                )
            prepared = time.perf_counter()
            self._run_waves(arranged)
        self.phases.prepare += prepared - started
        executed = time.perf_counter() - prepared
        if native:
            self._arranger.learn(arranged, executed)
        self.phases.execute += executed
        self.phases.updates += len(waves.node)

    def _run_waves(self, arranged: Arranged) -> None:
        self._run(arranged.blocks, during=self.during)
        if self.world.scenario.training.enabled:
            self.table.steps += arranged.trainings * self.world.scenario.training.local_steps

    def _run(self, blocks: Blocks, *, during: Callable[[float], None] = lambda share: None) -> None:
        lines = self._lines(blocks)
        for group in sorted(set(blocks.group)):
            self._prepare(group, lines[blocks.group.index(group)])
        if blocks.group and self._is_native():
            programmes = {group: self._programmes[group].unlocked for group in self._programmes}
            self._native(replace(blocks, columns=lines), self.table, programmes, self.workers, during=during)
            self.phases.blocks += len(blocks.group)
            return
        columns = torch.from_numpy(lines).to(self.device).unbind(0)
        counters = self._counters()

        def run(thread: int, first: int, last: int) -> None:
            for b in range(first, last):
                numbers, group = lines[b], blocks.group[b]
                outcome = self._outcome(thread, group, counters, columns[b], numbers)
                self.table.write(columns[b], numbers, outcome, steps=self._done(group, counters, columns[b]))

        safe = all(programme.thread_safe for programme in self._programmes.values())
        for start, end in self.table.pieces(blocks):
            if safe:
                self.workers.share(run, start, end)
            else:
                run(0, start, end)
            during(end / len(blocks.group))
        self.phases.blocks += len(blocks.group)

    def _lines(self, blocks: Blocks) -> NDArray[np.int64]:
        """Columns of blocks, ``[blocks, 6, B]``, or 7 with numbers of the nodes in the network (`UpdateBlock`)."""
        if self._numbers is None:
            return blocks.columns
        return np.concatenate([blocks.columns, self._numbers[blocks.columns[:, :1]]], axis=1)

    def _is_native(self) -> bool:
        """Whether blocks can be carried out without the interpreter."""
        programmes = tuple(self._programmes.values())  # there may be more while windows are arranged
        return (
            type(self.table) is Table
            and len(programmes) > 0
            and all(programme.unlocked for programme in programmes)
            and library() is not None
        )

    def _outcome(
        self, thread: int, group: int, counters: Tensor, columns: Tensor, numbers: NDArray[np.int64]
    ) -> Outcome:
        table, answers = self.table, self._groups.all[group].operation == ON_ANSWER
        if not self.vectorised:
            own = numbers[0] < table.n
            rows, ages, kept, _, placed = table.arguments(counters, columns[:, : own.sum()], answers=answers)
            steps = table.steps[numbers[0, own]] + numbers[4, own] * self.world.scenario.training.local_steps
            outcome = self._updates[group].row_by_row(
                rows, ages, kept, placed, owners=numbers[0, own], steps=steps
            )
            padded = tuple(self._padded(tensor, columns.shape[1]) for tensor in outcome)
            return padded[0], padded[1], padded[2]
        batches = self._batches(thread, group, numbers)
        result: Outcome = self._programmes[group](
            thread, *table.arguments(counters, columns, answers=answers), *batches
        )
        return result

    def _done(self, group: int, counters: Tensor, columns: Tensor) -> Tensor | None:
        """Training steps that nodes of a block have done after it; None if nothing depends on them."""
        if not isinstance(self.table, KeptTable):
            return None
        before = counters.index_select(0, columns[0].clamp(max=len(counters) - 1))
        steps = columns[4] + int(self._groups.all[group].trains)
        return before + steps * self.world.scenario.training.local_steps

    def _outgoing(self) -> Pipeline:
        """Transformations of messages that are left to the blocks."""
        return self.world.message_outgoing

    def _counters(self) -> Tensor:
        """Training steps of each node before this window."""
        return torch.from_numpy(self.table.steps).to(self.device)

    @staticmethod
    def _padded(tensor: Tensor, length: int) -> Tensor:
        return torch.cat([tensor, tensor.new_zeros(length - len(tensor), *tensor.shape[1:])])

    def _batches(self, thread: int, group: int, numbers: NDArray[np.int64]) -> tuple[Tensor, ...]:
        buffer = self._buffers[thread][group]
        if self._groups.all[group].trains:
            buffer.gather(self.world.trainer, numbers[0], numbers[4], self.table.steps)
        return buffer.on(self.device)

    def _prepare(self, group: int, numbers: NDArray[np.int64]) -> None:
        """See that there is a programme for blocks of this group."""
        if group in self._programmes or not self.vectorised:
            return
        table, chosen = self.table, self._groups.all[group]
        columns = torch.from_numpy(numbers).to(self.device)
        batches = self._batches(0, group, numbers)
        programme = Programme(
            self._updates[group],
            (
                *table.arguments(self._counters(), columns, answers=chosen.operation == ON_ANSWER),
                *batches,
            ),
            growing=(0, 1, 2),
            calls=self._expected_blocks * chosen.share,
            compile_when=self._compile_when,
            threads=self.workers.threads,
            name=f"{self.world.task.name}: {self.block} updates on batches of {chosen.batch}",
            traces=self.world.traces,
            recipe=(self.world.recipe, repr(self.world.scenario.algorithm), chosen.operation),
            before_tracing=self._batching.require,
            unlocked=True,
        )
        self._programmes[group] = programme
        if chosen.operation == self._groups.training:
            self.phases.tiers[chosen.batch] = programme.tier

    @property
    def decisions(self) -> dict[str, int]:
        """Decisions of all gates so far, by their reasons."""
        return {}

    @property
    def refused(self) -> dict[str, int]:
        """How many models gates have ``refused``; empty where there are none."""
        return {}

    def state(self) -> Arrays:
        """All that changes, as named arrays, for a checkpoint."""
        table = self.table
        return {
            **table.state(),
            "ages": table.ages.cpu().numpy(),
            "kept": table.kept.cpu().numpy(),
            "steps": table.steps,
            "versions": table.versions,
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a value of `state`."""
        table = self.table
        table.restore(state)
        table.ages, table.kept = (torch.from_numpy(state[name]).to(self.device) for name in ("ages", "kept"))
        table.steps = state["steps"].astype(np.int64)
        if "versions" in state:  # otherwise of a time when they were not counted
            table.versions = state["versions"].astype(np.int64)

    def close(self) -> None:
        """End the threads."""
        self._native.close()
        self.workers.close()
