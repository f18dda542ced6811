"""Measurement of what each merge does to a gossiping peer's model, on a few of its own test samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossipfl.algorithms.merge_effects import EffectTally, merge_effects
from gossipfl.peer.gossip.updates import Update
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.samples import count, map_leaves, take
from gossipfl.training import Nodes

__all__ = ["MergeEffects", "Watched"]


class MergeEffects:
    """Effects of the merges of a peer, by sender.

    They are measured in the worker thread that merges. What reaches it has passed the gate, so nobody can make a
    peer evaluate more than it merges.

    Parameters
    ----------
    task : Task
    data : Dataset
        Evenly spaced ones of its test samples are used: those it has at the start.
    samples : int
        How many, or all if there are fewer.
    """

    def __init__(self, task: Task, data: Dataset, *, samples: int) -> None:
        self._task = task
        self._tally = EffectTally()
        there = count(data.test_targets)
        places = torch.from_numpy(np.linspace(0, there - 1, min(samples, there)).astype(np.int64))
        chosen = take((data.test_inputs, data.test_targets), places)
        self._inputs, self._targets = map_leaves(lambda leaf: leaf[None], chosen)

    def watching(self, before: Nodes, update: Update) -> Watched:
        """Watch one merge: to be passed to the algorithm in place of its update."""
        return Watched(self, before, update)

    def effect(self, before: Tensor, after: Tensor) -> float:
        """How much a merge lowered the loss of a model, ``[1, D]``; NaN if a loss is not finite."""
        return float(merge_effects(self._task, before, after, self._inputs, self._targets)[0])

    def note(self, sender: str, effect: float) -> None:
        """Add one effect."""
        self._tally.add(sender, effect)

    def described(self, sender: str) -> Mapping[str, Any] | None:
        """Return the mean effect of a sender's models as plain values; None if none was measured."""
        found = self._tally.of(sender)
        if found is None:
            return None
        error = found.standard_error
        return {
            "merges": found.merges,
            "mean": found.mean,
            "standard_error": None if math.isnan(error) else error,
        }


class Watched:
    """An update that looks at the nodes before it trains them: they have just been merged."""

    def __init__(self, effects: MergeEffects, before: Nodes, update: Update) -> None:
        self._effects, self._before, self._update = effects, before.rows, update
        self._effect: float | None = None

    def __call__(self, nodes: Nodes) -> Nodes:
        """Measure, then train."""
        self._effect = self._effects.effect(self._before, nodes.rows)
        return self._update(nodes)

    def noted(self, sender: str, after: Nodes) -> float:
        """Note the effect of the merge, and return it; of an algorithm that did not train, that of the outcome."""
        if self._effect is None:
            self._effect = self._effects.effect(self._before, after.rows)
        self._effects.note(sender, self._effect)
        return self._effect
