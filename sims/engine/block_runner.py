"""Runs one function over blocks of rows, each with its own batches: traced or compiled, on several threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sims.engine.batching import Batching
from sims.engine.blocks import block_size, card_block_size
from sims.engine.buffers import BatchBuffer, batch_buffer, pool_of
from sims.engine.engine import Phases
from sims.engine.programme import Compile, Programme
from sims.engine.workers import Workers
from sims.world import World

__all__ = ["BlockRunner", "Work"]

_FEWEST = 2  # a product of one pair of matrices is another kernel's, whose last digits differ

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A computation on every block.

    Parameters
    ----------
    name : str
        Its name in messages.
    batches : int
        How many batches each row needs at a time.
    recipe : str
        What it depends on besides its arguments.
    function : callable
        Of whole tensors, the places of the block's rows in them (int64 ``[B]``), and their batches
        (``[B, batches, S, ...]`` of each tensor of a sample).
    repeats : int
        How often it is computed, a block at a time, each time on what it wrote and on the next batches.
    """

    name: str
    batches: int
    recipe: str
    function: Callable[..., tuple[Tensor, ...]]
    repeats: int = 1


class BlockRunner:
    """Blocks of nodes whose batches have the same size.

    Parameters
    ----------
    world : World
    expected_rounds : float
        Expected number of rounds of the run; decides whether compiling is worth it.
    threads : int
    compile_when : {'auto', 'always', 'never'}
    device : torch.device
    phases : Phases
        Records what was compiled.
    """

    def __init__(
        self,
        world: World,
        *,
        expected_rounds: float,
        threads: int,
        compile_when: Compile,
        device: torch.device,
        phases: Phases,
    ) -> None:
        self.world, self.device, self.phases = world, device, phases
        n, data = world.scenario.population.nodes, world.trainer.data
        on_cpu = device.type == "cpu"
        row_bytes = world.dtype.itemsize * world.layout.size
        chosen = block_size if on_cpu else card_block_size
        self.block = chosen(row_bytes=row_bytes, nodes=5 * n)
        self.workers = Workers(threads if on_cpu else 1)
        self._batching = Batching.of(world)
        self._pool = pool_of(data, device) if self._batching.holds else None
        batches = np.minimum(data.counts, world.scenario.training.batch_size)
        self._sizes, groups = np.unique(batches, return_inverse=True)
        self._members = [np.flatnonzero(groups == g) for g in range(len(self._sizes))]
        self._expected_rounds, self._compile_when = expected_rounds, compile_when
        self._programmes: dict[tuple[str, int, int], Programme] = {}
        self._buffers: dict[tuple[int, int], list[BatchBuffer]] = {}

    def run(
        self,
        work: Work,
        whole: tuple[Tensor, ...],
        into: tuple[Tensor, ...],
        steps: Ints,
        among: Bools | None = None,
    ) -> None:
        """Compute rows of tensors from rows of tensors.

        Parameters
        ----------
        work : Work
        whole : tuple of Tensor
            Tensors to read, ``[N, ...]`` each.
        into : tuple of Tensor
            Tensors to write to, ``[N, ...]`` each; may be the same.
        steps : ndarray
            Steps every node has done, int64 ``[N]``: which batches are next.
        among : ndarray, optional
            Nodes whose rows are computed, bool ``[N]``; by default all.
        """
        for group, everyone in enumerate(self._members):
            members = everyone if among is None else everyone[among[everyone]]
            if not len(members):
                continue
            size = self._block_of(group)
            blocks = -(-len(members) // size)
            padding = np.repeat(members[-1:], blocks * size - len(members))
            index = np.concatenate([members, padding]).reshape(blocks, size).astype(np.int64)
            programme = self._programme(work, group, whole, index, steps)
            task = self._task(work, group, programme, whole, into, index, steps)
            if programme.thread_safe:
                self.workers.share(task, 0, blocks)
            else:
                task(0, 0, blocks)

    def _block_of(self, group: int) -> int:
        """Rows in a block of a group: of skewed partitions most groups are a few nodes."""
        fits = 1 << (len(self._members[group]) - 1).bit_length()
        return min(self.block, max(_FEWEST, fits))

    def _task(
        self,
        work: Work,
        group: int,
        programme: Programme,
        whole: tuple[Tensor, ...],
        into: tuple[Tensor, ...],
        index: Ints,
        steps: Ints,
    ) -> Callable[[int, int, int], None]:
        buffers = self._buffers[group, work.batches]

        def run(thread: int, first: int, last: int) -> None:
            for b in range(first, last):
                places = torch.from_numpy(index[b]).to(self.device)
                for repeat in range(work.repeats):
                    batches = self._gathered(buffers[thread], index[b], steps + repeat * work.batches)
                    outcome = programme(thread, *whole, places, *batches)
                    for tensor, values in zip(into, outcome, strict=True):
                        if tensor.dim() == 1 or tensor.shape[1]:
                            tensor.index_copy_(0, places, values)

        return run

    def _gathered(self, buffer: BatchBuffer, members: Ints, steps: Ints) -> tuple[Tensor, ...]:
        buffer.gather(self.world.trainer, members, np.zeros_like(members), steps)
        return buffer.on(self.device)

    def _programme(
        self, work: Work, group: int, whole: tuple[Tensor, ...], index: Ints, steps: Ints
    ) -> Programme:
        key, size = (work.name, work.batches, group), int(self._sizes[group])
        if key not in self._programmes:
            made = self._made(work, group, whole, index, steps, self._compile_when)
            self._programmes[key], self.phases.tiers[size] = made, made.tier
        return self._programmes[key]

    def operations(self, work: Work, whole: tuple[Tensor, ...], steps: Ints) -> int:
        """How many operations this is, traced; 0 if it cannot be."""
        group = int(np.argmax([len(members) for members in self._members]))
        index = np.resize(self._members[group], (1, self._block_of(group)))
        return self._made(work, group, whole, index, steps, "never").operations

    def _made(
        self,
        work: Work,
        group: int,
        whole: tuple[Tensor, ...],
        index: Ints,
        steps: Ints,
        compile_when: Compile,
    ) -> Programme:
        size = int(self._sizes[group])
        assert self._pool is not None  # noqa: S101 - only what can be traced has a programme
        buffers = [
            batch_buffer(self._pool, rows=self._block_of(group), local_steps=work.batches, size=size)
            for _ in range(self.workers.threads)
        ]
        self._buffers.setdefault((group, work.batches), buffers)
        batches = self._gathered(buffers[0], index[0], steps)
        return Programme(
            work.function,
            (*whole, torch.from_numpy(index[0]).to(self.device), *batches),
            growing=tuple(range(len(whole))),
            calls=self._expected_rounds * len(index) * work.repeats,
            compile_when=compile_when,
            threads=self.workers.threads,
            name=f"{self.world.task.name}: {work.name} of {self._block_of(group)} rows",
            traces=self.world.traces,
            recipe=work.recipe,
            before_tracing=self._batching.require,
        )

    def close(self) -> None:
        """End the threads."""
        self.workers.close()
