"""Measures of participants' models: of each on its own test samples, or of all on common ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks import Task
from gossipfl.tasks.clusters import cluster_of
from gossipfl.tasks.samples import Tree, count, take
from sims.errors import InvalidScenario
from sims.metrics.direction import is_lower_better

__all__ = ["Measure"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROWS_AT_ONCE = 64
_MOST_PARTS = 50


class Measure:
    """One metric of models, so that more is better: losses with their sign changed.

    Parameters
    ----------
    task : Task
    own_tests : sequence of (Tree, Tree)
        Test samples, those of participants in turn; one where all are measured on the same.
    metric : str, optional
        ``loss`` or a metric of the task; by default the task's first.

    Raises
    ------
    InvalidScenario
        If the task has no such metric.
    """

    def __init__(self, task: Task, own_tests: Sequence[tuple[Tree, Tree]], metric: str | None = None) -> None:
        known = ("loss", *task.metrics)
        self.name = metric or known[min(1, len(known) - 1)]
        if self.name not in known:
            raise InvalidScenario(
                f"the task does not measure {self.name!r}", expected=f"one of {', '.join(known)}"
            )
        self._task, self._tests, self._sign = task, own_tests, -1.0 if is_lower_better(self.name) else 1.0

    @property
    def is_loss(self) -> bool:
        """Whether the metric is better the lower it is."""
        return self._sign < 0

    def __call__(self, rows: Tensor, whose: Ints) -> Floats:
        """Measure rows ``[R, D]``, each on the test samples of the participant whose it is, ``[R]``."""
        found = np.empty(len(rows))
        for inputs, targets, places in self._groups(whose):
            found[places] = self._measured(rows[torch.from_numpy(places)], inputs, targets)
        return found

    def in_parts(self, rows: Tensor, whose: Ints) -> list[tuple[Floats, Floats]]:
        """Measure rows on parts of their test samples: as many parts as there are samples, at most 50.

        Returns
        -------
        list
            For each row its values ``[parts]``, and the number of samples of each part.
        """
        found: dict[int, tuple[Floats, Floats]] = {}
        for inputs, targets, places in self._groups(whose):
            chosen = rows[torch.from_numpy(places)]
            parts = np.array_split(np.arange(count(targets)), min(count(targets), _MOST_PARTS))
            values = np.stack(
                [self._measured(chosen, *_part(inputs, targets, part)) for part in parts], axis=1
            )
            sizes = np.array([len(part) for part in parts], dtype=np.float64)
            found |= {int(place): (values[row], sizes) for row, place in enumerate(places)}
        return [found[place] for place in range(len(rows))]

    def _groups(self, whose: Ints) -> list[tuple[Tree, Tree, Ints]]:
        """Test samples, and the rows that are measured on them."""
        tests = cluster_of(whose, len(self._tests))
        return [(*self._tests[test], np.flatnonzero(tests == test)) for test in np.unique(tests)]

    def _measured(self, rows: Tensor, inputs: Tree, targets: Tree) -> Floats:
        parts = [
            self._task.evaluate(part, inputs, targets)[self.name].double()
            for part in torch.split(rows, _ROWS_AT_ONCE)
        ]
        return self._sign * torch.cat(parts).numpy()


def _part(inputs: Tree, targets: Tree, places: Ints) -> tuple[Tree, Tree]:
    index = torch.from_numpy(places)
    return take(inputs, index), take(targets, index)
