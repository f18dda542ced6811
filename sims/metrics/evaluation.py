"""The task's metrics on every node."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks.batchable import NativeRecurrence
from gossipfl.tasks.batched_pooling import SlicedPooling
from gossipfl.tasks.samples import count, flatten, leaves, take, unflatten
from sims.compiler.timeline.draws import PLAN, uniform
from sims.engine.programme import Compile, Programme
from sims.engine.workers import Workers, torch_threads
from sims.metrics.living import Watching
from sims.world import World

__all__ = ["Evaluator"]

_CACHE_BYTES = 400_000
_DEVICE_BYTES = 1 << 28
_SAMPLES_TRIED = 2
_COPIES = torch.ops.aten.clone, torch.ops.aten.copy_, torch.ops.aten.cat


class Evaluator:
    """Evaluates rows on the task's test samples, in blocks.

    Parameters
    ----------
    world : World
    expected_rows : float
        Expected number of rows that the run will evaluate; decides whether compiling is worth it.
    threads : int
    compile_when : {'auto', 'always', 'never'}
    device : str
        Where rows are.
    """

    def __init__(
        self,
        world: World,
        *,
        expected_rows: float,
        threads: int = 1,
        compile_when: Compile = "auto",
        device: str = "cpu",
    ) -> None:
        self.world = world
        self.names = ["loss", *world.task.metrics]
        self.nodes = self._chosen()
        self._samples = [flatten(samples)[0] for samples in world.own_tests]  # of each cluster or node
        self._form = flatten(world.own_tests[0])[1]
        widest = max(64, _widest(world) * count(world.own_tests[0][1])) * 4
        fits = _CACHE_BYTES if torch.device(device).type == "cpu" else _DEVICE_BYTES
        self.block = int(np.clip(fits // widest, 1, 32))
        self._workers = Workers(threads)
        self._programmes: dict[int, Programme] = {}
        self._expected_calls = expected_rows / self.block
        self._compile_when: Compile = compile_when

    def _chosen(self) -> NDArray[np.int64]:
        """Nodes that are measured: all that are honest, or a sample of them that stays the same throughout."""
        honest, wanted = np.flatnonzero(self.world.honest), self.world.scenario.evaluate.nodes
        if wanted is None or wanted >= len(honest):
            return honest.astype(np.int64)
        keys = np.array([uniform(self.world.scenario.seed, PLAN, i, 1 << 40) for i in honest])
        return honest[np.sort(np.argsort(keys, kind="stable")[:wanted])].astype(np.int64)

    def __call__(self, rows: Tensor) -> dict[str, NDArray[np.float64]]:
        """Measure rows.

        Parameters
        ----------
        rows : Tensor
            Shape ``[k, D]``; with clusters of nodes, or nodes with samples of their own, the rows of `nodes`, each
            of which is measured on the test samples of its cluster, or its own.

        Returns
        -------
        dict of str to ndarray
            ``"loss"`` and each metric of the task, float64 ``[k]``.
        """
        measured = np.empty((len(self.names), len(rows)))
        with torch.no_grad(), torch_threads():
            if len(self._samples) == 1:
                measured[:] = self._measured(rows, 0)
            else:
                clusters = self.world.own_test(self.nodes)
                for cluster in np.unique(clusters):
                    members = np.flatnonzero(clusters == cluster)
                    measured[:, members] = self._measured(rows[members.tolist()], int(cluster))
        return dict(zip(self.names, measured, strict=True))

    def _measured(self, rows: Tensor, cluster: int) -> NDArray[np.float64]:
        """Measure rows on the samples of one cluster, ``[names, k]``."""
        samples = [leaf.to(rows.device) for leaf in self._samples[cluster]]
        self._samples[cluster] = samples
        measured = torch.empty(len(self.names), len(rows), dtype=torch.float64)
        size = len(samples[0])
        if size not in self._programmes:
            example = (self._block(rows, 0), *samples)
            self._programmes[size] = Programme(
                self._measure,
                example,
                growing=(),
                calls=self._expected_calls,
                compile_when=self._compile_when,
                threads=self._workers.threads,
                name=f"{self.world.task.name}: evaluation of {self.block} rows",
                traces=self.world.traces,
                recipe=self.world.recipe,
            )
        programme = self._programmes[size]

        def run(thread: int, first: int, last: int) -> None:
            for b in range(first, last):
                start = b * self.block
                values = programme(thread, self._block(rows, start), *samples)
                values = values[0] if isinstance(values, (list, tuple)) else values
                filled = min(self.block, len(rows) - start)
                measured[:, start : start + filled] = values[:, :filled].to("cpu", torch.float64)

        blocks = -(-len(rows) // self.block)
        if programme.thread_safe:
            self._workers.share(run, 0, blocks)
        else:
            run(0, 0, blocks)
        return measured.numpy()

    def _block(self, rows: Tensor, start: int) -> Tensor:
        block = rows[start : start + self.block]
        missing = self.block - len(block)
        return torch.cat([block, block[-1:].expand(missing, -1)]) if missing else block

    def _measure(self, rows: Tensor, *samples: Tensor) -> Tensor:
        with SlicedPooling(), NativeRecurrence():
            values = self.world.task.evaluate(rows, *unflatten(samples, self._form))
        return torch.stack([values[name].to(rows.dtype) for name in self.names])

    def close(self) -> None:
        """End the threads."""
        self._workers.close()


def _widest(world: World) -> int:
    """Most numbers for a sample in one tensor between a model's layers."""
    guessed = max((entry.shape[0] for entry in world.layout.entries if entry.shape), default=1)
    inputs, targets = (take(tree, slice(0, _SAMPLES_TRIED)) for tree in world.own_tests[0])
    row = world.task.initial_row().to(world.dtype)[None]
    try:
        widths = _Widths()
        with torch.no_grad(), Watching(widths.seen):
            world.task.evaluate(row, inputs, targets)
    except Exception:  # a metric may need more samples, and what fails on all of them is named there
        return guessed
    return max(guessed, int(widths.most) // min(_SAMPLES_TRIED, count(targets)))


class _Widths:
    """Notes the most numbers that an operation computes."""

    most: int = 0

    def seen(self, operation: Any, found: Any) -> None:  # noqa: ANN401
        """Take note of what an operation returned."""
        # Copies are of rows and samples, views of nothing.
        if not operation.is_view and operation.overloadpacket not in _COPIES:
            sizes = [leaf.numel() for leaf in leaves(found) if isinstance(leaf, Tensor)]
            self.most = max(self.most, *sizes, 0)
