"""Runs one function over blocks of rows, each with its own batches: traced or compiled, on several threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sims.engine.batch_sizes import BatchSizes
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
        Of the block's rows of each tensor, and their batches (``[B, batches, S, ...]`` of each tensor of a
        sample). It returns no view of these.
    repeats : int
        How often it is computed, a block at a time, each time on what it wrote and on the next batches.
    """

    name: str
    batches: int
    recipe: str
    function: Callable[..., tuple[Tensor, ...]]
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class _Cut:
    """Rows cut into blocks.

    Parameters
    ----------
    index : ndarray
        Their places, int64 ``[blocks, B]``.
    whose : ndarray
        The node whose batches each is given, int64 ``[blocks, B]``.
    spans : list of slice
        Of the blocks whose places follow one another.
    """

    index: Ints
    whose: Ints
    spans: list[slice | None]

    @classmethod
    def of(cls, places: Ints, size: int, whose: Ints | None = None) -> _Cut:
        """Blocks of ``size`` of some rows, increasing; the last is filled up with its last row.

        ``whose`` is of all rows; by default each is the node's of its number.
        """
        blocks = -(-len(places) // size)
        padding = np.repeat(places[-1:], blocks * size - len(places))
        index = np.concatenate([places, padding]).reshape(blocks, size).astype(np.int64)
        follow = index[:, -1] - index[:, 0] == size - 1
        follow[len(places) // size :] = False  # the last repeats a row
        firsts = index[:, 0].tolist()
        spans = [
            slice(first, first + size) if one else None
            for first, one in zip(firsts, follow.tolist(), strict=True)
        ]
        return cls(index, index if whose is None else whose[index], spans)


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
        batches = BatchSizes.of_world(world) if self._batching.holds else BatchSizes.alike(len(data.counts))
        self._sizes, self._groups = batches.groups
        self._members = [np.flatnonzero(self._groups == g) for g in range(len(self._sizes))]
        self._expected_rounds, self._compile_when = expected_rounds, compile_when
        self._programmes: dict[tuple[str, int, int], Programme] = {}
        self._buffers: dict[tuple[int, int], list[BatchBuffer]] = {}
        self._cuts: dict[int, _Cut] = {}

    def run(
        self,
        work: Work,
        whole: tuple[Tensor, ...],
        into: tuple[Tensor, ...],
        steps: Ints,
        among: Bools | None = None,
        whose: Ints | None = None,
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
        whose : ndarray, optional
            For M rows in the place of the nodes' own: the node whose batches each is given, int64 ``[M]``.
        """
        for group, everyone in enumerate(self._members):
            if whose is not None:
                members = np.flatnonzero(self._groups[whose] == group)
            else:
                members = everyone if among is None else everyone[among[everyone]]
            if not len(members):
                continue
            all_own = among is None and whose is None
            cut = self._cut(group) if all_own else _Cut.of(members, self._block_of(group), whose)
            programme = self._programme(work, group, whole, cut, steps)
            task = self._task(work, group, programme, whole, into, cut, steps)
            if programme.thread_safe:
                self.workers.share(task, 0, len(cut.index))
            else:
                task(0, 0, len(cut.index))

    def _block_of(self, group: int) -> int:
        """Rows in a block of a group: of skewed partitions most groups are a few nodes."""
        fits = 1 << (len(self._members[group]) - 1).bit_length()
        return min(self.block, max(_FEWEST, fits))

    def _cut(self, group: int) -> _Cut:
        """All nodes of a group, which are cut the same way in every round."""
        if group not in self._cuts:
            self._cuts[group] = _Cut.of(self._members[group], self._block_of(group))
        return self._cuts[group]

    def _task(
        self,
        work: Work,
        group: int,
        programme: Programme,
        whole: tuple[Tensor, ...],
        into: tuple[Tensor, ...],
        cut: _Cut,
        steps: Ints,
    ) -> Callable[[int, int, int], None]:
        buffers = self._buffers[group, work.batches]

        def run(thread: int, first: int, last: int) -> None:
            for b in range(first, last):
                read = whole
                for repeat in range(work.repeats):
                    batches = self._gathered(buffers[thread], cut.whose[b], steps + repeat * work.batches)
                    rows, write = self._rows(read, cut, b)
                    for tensor, values in zip(into, programme(thread, *rows, *batches), strict=True):
                        if tensor.dim() == 1 or tensor.shape[1]:
                            write(tensor, values)
                    read = into

        return run

    def _rows(
        self, whole: tuple[Tensor, ...], cut: _Cut, block: int
    ) -> tuple[list[Tensor], Callable[[Tensor, Tensor], object]]:
        """Rows of a block, which are copied only where they lie apart, and how its results are written."""
        span = cut.spans[block]
        if span is not None:
            return [tensor[span] for tensor in whole], lambda tensor, values: tensor[span].copy_(values)
        places = torch.from_numpy(cut.index[block]).to(self.device)
        return (
            [tensor.index_select(0, places) for tensor in whole],
            lambda tensor, values: tensor.index_copy_(0, places, values),
        )

    def _gathered(self, buffer: BatchBuffer, members: Ints, steps: Ints) -> tuple[Tensor, ...]:
        buffer.gather(self.world.trainer, members, np.zeros_like(members), steps)
        return buffer.on(self.device)

    def _programme(
        self, work: Work, group: int, whole: tuple[Tensor, ...], cut: _Cut, steps: Ints
    ) -> Programme:
        key, (size, _) = (work.name, work.batches, group), self._sizes[group]
        if key not in self._programmes:
            made = self._made(work, group, whole, cut, steps, self._compile_when)
            self._programmes[key], self.phases.tiers[size] = made, made.tier
        return self._programmes[key]

    def operations(self, work: Work, whole: tuple[Tensor, ...], steps: Ints) -> int:
        """How many operations this is, traced; 0 if it cannot be."""
        group = int(np.argmax([len(members) for members in self._members]))
        return self._made(work, group, whole, self._cut(group), steps, "never").operations

    def _made(
        self,
        work: Work,
        group: int,
        whole: tuple[Tensor, ...],
        cut: _Cut,
        steps: Ints,
        compile_when: Compile,
    ) -> Programme:
        size, padded = self._sizes[group]
        assert self._pool is not None  # noqa: S101 - only what can be traced has a programme
        buffers = [
            batch_buffer(
                self._pool, rows=self._block_of(group), local_steps=work.batches, size=size, padded=padded
            )
            for _ in range(self.workers.threads)
        ]
        self._buffers.setdefault((group, work.batches), buffers)
        batches = self._gathered(buffers[0], cut.whose[0], steps)
        return Programme(
            work.function,
            (*self._rows(whole, cut, 0)[0], *batches),
            growing=(),
            calls=self._expected_rounds * len(cut.index) * work.repeats,
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
