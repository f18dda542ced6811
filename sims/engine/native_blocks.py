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

_SLICE = 0.01  # seconds after which signals are seen, and the number of threads is thought over
_NEXT, _DONE, _ALONE, _FAILED = 0, 8, 16, 24  # as in the source
_KEY = 0  # of the paces of all blocks


class NativeBlocks:
    """Blocks of a window that are being carried out.

    Rows of the table may be read again after `finish`.

    Parameters
    ----------
    blocks : Blocks
    table : Table
    programmes : mapping of int to list of Unlocked
        Of each group, for each thread.
    groups : sequence of Group
    buffers : sequence of sequence of BatchBuffer
        Of each thread, of each group.
    trainer : Trainer
    workers : Workers
    """

    def __init__(
        self,
        blocks: Blocks,
        table: Table,
        *,
        programmes: Mapping[int, Sequence[Unlocked]],
        groups: Sequence[Group],
        buffers: Sequence[Sequence[BatchBuffer]],
        trainer: Trainer,
        workers: Workers,
    ) -> None:
        found = library()
        assert found is not None  # noqa: S101 - whoever has unlocked programmes has asked
        self._library, self._workers = found, workers
        self._kept: list[Any] = [blocks, table.rows, table.ages, table.kept, table.steps, groups, buffers]
        self._handles: list[ctypes.Array[ctypes.c_void_p]] = []
        self._progress = np.zeros(32, dtype=np.int64)
        self._helpers: list[Future[int]] = []
        self._job = self._job_of(blocks, table, trainer)
        counters = torch.from_numpy(table.steps)
        sites = (Site * (workers.threads * len(groups)))()
        for thread in range(workers.threads):
            for group, of_thread in programmes.items():
                sites[thread * len(groups) + group] = self._site(
                    of_thread[thread], groups[group], buffers[thread][group], trainer, table, counters
                )
        self._job.sites, self._job.groups = ctypes.addressof(sites), len(groups)
        self._kept.append(sites)
        self._is_split = False
        self._choose()

    def _job_of(self, blocks: Blocks, table: Table, trainer: Trainer) -> Job:
        data, ends = trainer.data, blocks.wave_ends
        begins_after = np.repeat([0, *ends[:-1]], np.diff(ends, prepend=0)).astype(np.int64)
        number = table.rows.element_size()
        return Job(
            rows=table.rows.data_ptr(),
            row_bytes=table.rows.stride(0) * number,
            number_bytes=number,
            ages=table.ages.data_ptr(),
            ages_each=table.ages[0].numel(),
            kept=table.kept.data_ptr(),
            kept_bytes=table.kept.shape[1] * number,
            nowhere=table.n,
            columns=self._address(blocks.columns),
            blocks=len(blocks.group),
            size=blocks.columns.shape[2],
            group=self._address(np.array(blocks.group, dtype=np.int64)),
            begins_after=self._address(begins_after),
            draw=drawing().address,
            seed=trainer.settings.seed,
            nodes=len(data.numbers),
            steps=self._address(table.steps),
            offsets=self._address(data.offsets),
            indices=self._address(data.indices),
            numbers=self._address(data.numbers),
            progress=self._address(self._progress),
        )

    def _site(
        self,
        programme: Unlocked,
        group: Group,
        buffer: BatchBuffer,
        trainer: Trainer,
        table: Table,
        counters: Tensor,
    ) -> Site:
        size, (rows, local_steps, batch) = self._job.size, buffer.gathered[0].shape[:3]
        columns = torch.zeros(6, size, dtype=torch.int64)
        # Other tensors of the same memory: threads that count references to one would disturb each other.
        tables = (each.detach() for each in (table.rows, table.ages, table.kept, counters))
        inputs = pointers_of((*tables, columns, *buffer.gathered))
        self._handles.append(inputs)
        leaves = (Leaf * len(buffer.bytes))(
            *(
                Leaf(self._address(pool), self._address(gathered), pool.shape[1])
                for pool, gathered in zip(buffer.pool.bytes, buffer.bytes, strict=True)
            )
        )
        self._kept += [columns, leaves]
        return Site(
            run=programme.run,
            container=programme.container,
            inputs=ctypes.addressof(inputs),
            input_count=len(inputs),
            columns=columns.data_ptr(),
            leaves=ctypes.addressof(leaves),
            leaf_count=len(leaves),
            samples=self._address(np.zeros(rows * local_steps * batch, dtype=np.int64)),
            local_steps=trainer.settings.local_steps,
            size=batch,
            trains=group.trains,
        )

    def _address(self, array: NDArray[Any]) -> int:
        """Where an array lies, which stays there until all is done."""
        assert array.flags.c_contiguous  # noqa: S101 - made so
        self._kept.append(array)
        return array.ctypes.data

    def finish(self, during: Callable[[float], None] = lambda share: None) -> None:
        """Carry out what is left.

        Parameters
        ----------
        during : callable
            Told now and then which share of the blocks is done.

        Raises
        ------
        RuntimeError
            If a compiled programme failed.
        """
        try:
            left = True
            while left:
                before, began = int(self._progress[_DONE]), time.perf_counter()
                code = self._library.blocks_run(self._job, 0, int(_SLICE * 1e9))
                done = int(self._progress[_DONE])
                if code < 0:
                    raise RuntimeError("a compiled programme failed")
                if done > before:
                    pace = (time.perf_counter() - began) / (done - before)
                    self._workers.learn(_KEY, split=self._is_split, pace=pace)
                left = code == 0
                if left:
                    self._choose()
                during(done / self._job.blocks)
            self._join()
        finally:
            self.stop()
        if self._progress[_FAILED]:
            raise RuntimeError("a compiled programme failed")

    def _choose(self) -> None:
        """Have other threads help, or not."""
        split = self._workers.splits(_KEY)
        if split == self._is_split:
            return
        self._is_split = split
        if not split:
            self._progress[_ALONE] = 1
            self._join()
            return
        self._progress[_ALONE] = 0
        self._helpers = [
            self._workers.start(self._library.blocks_run, self._job, thread, 0)
            for thread in range(1, self._workers.threads)
        ]

    def _join(self) -> None:
        for helper in self._helpers:
            helper.result()
        self._helpers = []

    def stop(self) -> None:
        """Take no more blocks, and wait for those that are being carried out: nobody writes to the table after."""
        self._progress[_ALONE] = 1
        self._join()
        for handles in self._handles:
            self._library.blocks_release(handles, len(handles))
        self._handles = []
