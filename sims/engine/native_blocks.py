"""Blocks of a window carried out without the interpreter, by one thread or several, whichever is faster."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Trainer
from sims.engine.batches import drawing
from sims.engine.blocks import Blocks
from sims.engine.buffers import BatchBuffer
from sims.engine.gil_free import Unlocked, pointers_of
from sims.engine.groups import Group
from sims.engine.native_library import Job, Leaf, Site, library
from sims.engine.table import Table
from sims.engine.workers import Workers

__all__ = ["NativeBlocks"]

Programmes = Mapping[int, Sequence[Unlocked]]
_SLICE = 0.01  # seconds after which signals are seen, and the number of threads is thought over
_MANY = 8  # bits of a number of blocks that take long enough for calls of threads not to matter
_DONE, _ALONE, _FAILED, _CORE = 8, 16, 24, 32  # as in the source


class NativeBlocks:
    """Carries out blocks.

    Parameters
    ----------
    trainer : Trainer
    groups : sequence of Group
    buffers : sequence of sequence of BatchBuffer
        Of each thread, of each group.

    Attributes
    ----------
    shares : bool
        Whether threads shared the last blocks, and far faster than one would have done them.
    """

    def __init__(
        self, trainer: Trainer, groups: Sequence[Group], buffers: Sequence[Sequence[BatchBuffer]]
    ) -> None:
        self._trainer, self._groups, self._buffers = trainer, groups, buffers
        self._sites: _Sites | None = None
        self._progress = np.zeros(40, dtype=np.int64)
        self.shares = False

    def __call__(
        self,
        blocks: Blocks,
        table: Table,
        programmes: Programmes,
        workers: Workers,
        *,
        during: Callable[[float], None] = lambda share: None,
    ) -> None:
        """Carry out blocks; when this returns or raises, nobody writes to the table any more.

        Parameters
        ----------
        blocks : Blocks
        table : Table
        programmes : mapping of int to sequence of Unlocked
            Of each group, for each thread.
        workers : Workers
        during : callable
            Told now and then which share of the blocks is done.

        Raises
        ------
        RuntimeError
            If a compiled programme failed.
        """
        found = library()
        assert found is not None  # noqa: S101 - whoever has unlocked programmes has asked
        sites = self._sites_of(table, programmes, lines=blocks.columns.shape[1])
        job, kept = self._job(blocks, table, sites)
        count, progress = len(blocks.group), self._progress
        progress[:], progress[_CORE] = 0, -1
        kind = (min(count.bit_length(), _MANY), -(-count // len(blocks.wave_ends)))
        helpers: list[Future[int]] = []
        self.shares, learned = False, False
        try:
            code = 0
            while not code:
                began, awake, before = time.perf_counter(), time.thread_time(), int(progress[_DONE])
                measured = workers.are_complete  # what a thread does aside, it brings nothing here
                split = workers.splits(kind) if measured else True
                progress[_ALONE] = not split
                if split and not helpers:
                    helpers = [
                        workers.start(found.blocks_run, job, thread, 0)
                        for thread in range(1, workers.threads)
                    ]
                if not split:
                    _join(helpers)
                code = found.blocks_run(job, 0, int(_SLICE * 1e9))
                if code:
                    _join(helpers)
                done = int(progress[_DONE])
                # In the last slice threads run out of blocks: it counts only where it is the only one.
                if done > before and measured and not (code and learned):
                    elapsed, awake = time.perf_counter() - began, time.thread_time() - awake
                    workers.learn(kind, split=split, pace=elapsed / (done - before), awake=awake / elapsed)
                    self.shares, learned = split and workers.pay(kind), True
                during(done / count)
        finally:
            progress[_ALONE] = 1
            _join(helpers)
            del kept
        if progress[_FAILED]:
            raise RuntimeError("a compiled programme failed")

    def _sites_of(self, table: Table, programmes: Programmes, *, lines: int) -> _Sites:
        if self._sites is None or not self._sites.serve(table, programmes):
            self.close()
            self._sites = _Sites(table, programmes, self._groups, self._buffers, self._trainer, lines)
        return self._sites

    def _job(self, blocks: Blocks, table: Table, sites: _Sites) -> tuple[Job, list[NDArray[Any]]]:
        """The job, and the arrays it points to."""
        data, ends = self._trainer.data, blocks.wave_ends
        group = np.array(blocks.group, dtype=np.int64)
        begins_after = np.repeat([0, *ends[:-1]], np.diff(ends, prepend=0)).astype(np.int64)
        arrays = {
            "columns": np.ascontiguousarray(blocks.columns),
            "group": group,
            "begins_after": begins_after,
            "steps": table.steps,
            "offsets": data.offsets,
            "indices": data.indices,
            "numbers": data.numbers,
            "progress": self._progress,
        }
        number = table.rows.element_size()
        job = Job(
            rows=table.rows.data_ptr(),
            row_bytes=table.rows.shape[1] * number,
            number_bytes=number,
            ages=table.ages.data_ptr(),
            ages_each=table.ages.shape[1] if table.ages.dim() > 1 else 1,
            kept=table.kept.data_ptr(),
            kept_bytes=table.kept.shape[1] * number,
            nowhere=table.n,
            blocks=len(group),
            lines=blocks.columns.shape[1],
            size=blocks.columns.shape[2],
            draw=drawing().address,
            seed=self._trainer.settings.seed,
            nodes=len(data.numbers),
            sites=sites.address,
            groups=len(self._groups),
            **{name: _address(array) for name, array in arrays.items()},
        )
        return job, list(arrays.values())

    def close(self) -> None:
        """Let the table go."""
        if self._sites is not None:
            self._sites.close()
            self._sites = None


class _Sites:
    """What each thread needs for blocks of each group, of one table."""

    def __init__(
        self,
        table: Table,
        programmes: Programmes,
        groups: Sequence[Group],
        buffers: Sequence[Sequence[BatchBuffer]],
        trainer: Trainer,
        lines: int,
    ) -> None:
        self._lines = lines
        self._programmes = dict(programmes)
        self._of = _tensors(table)
        self._handles: list[ctypes.Array[ctypes.c_void_p]] = []
        self._kept: list[Any] = [buffers]
        self._sites = (Site * (len(buffers) * len(groups)))()
        self.address = ctypes.addressof(self._sites)
        local_steps = trainer.settings.local_steps
        for thread, of_thread in enumerate(buffers):
            for group, unlocked in programmes.items():
                site = self._site(unlocked[thread], of_thread[group])
                site.local_steps, site.trains = local_steps, groups[group].trains
                self._sites[thread * len(groups) + group] = site

    def serve(self, table: Table, programmes: Programmes) -> bool:
        """Whether a table is still where it was, and all programmes are known."""
        return programmes.items() <= self._programmes.items() and all(
            ours is given for ours, given in zip(self._of, _tensors(table), strict=True)
        )

    def _site(self, programme: Unlocked, buffer: BatchBuffer) -> Site:
        rows, local_steps, batch = buffer.gathered[0].shape[:3]
        columns = torch.zeros(self._lines, rows, dtype=torch.int64)
        samples = np.zeros(rows * local_steps * batch, dtype=np.int64)
        *tensors, steps = self._of
        # Other tensors of the same memory: threads that count references to one would disturb each other.
        tables = [each.detach() for each in (*tensors, torch.from_numpy(steps))]
        weights = buffer.weights
        batches = buffer.gathered if weights is None else (*buffer.gathered, weights)
        inputs = pointers_of((*tables, columns, *batches))
        self._handles.append(inputs)
        leaves = (Leaf * len(buffer.bytes))(
            *(
                Leaf(_address(pool), _address(gathered), pool.shape[1])
                for pool, gathered in zip(buffer.pool.bytes, buffer.bytes, strict=True)
            )
        )
        self._kept += [columns, samples, leaves, programme]
        return Site(
            run=programme.run,
            container=programme.container,
            inputs=ctypes.addressof(inputs),
            input_count=len(inputs),
            columns=columns.data_ptr(),
            leaves=ctypes.addressof(leaves),
            leaf_count=len(leaves),
            samples=_address(samples),
            weights=None if weights is None else weights.data_ptr(),
            size=batch,
        )

    def close(self) -> None:
        found = library()
        assert found is not None  # noqa: S101 - these are its
        for handles in self._handles:
            found.blocks_release(handles, len(handles))
        self._handles = []


def _tensors(table: Table) -> tuple[Tensor, Tensor, Tensor, NDArray[np.int64]]:
    return table.rows, table.ages, table.kept, table.steps


def _address(array: NDArray[Any]) -> int:
    """Where an array lies, which its owner keeps."""
    assert array.flags.c_contiguous  # noqa: S101 - made so
    return array.ctypes.data


def _join(helpers: list[Future[int]]) -> None:
    while helpers:
        helpers.pop().result()
