"""Effects of merges: what other nodes' models did to the losses of one's own on held-out samples."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.tasks import Task
from gossipfl.tasks.samples import Tree

__all__ = ["EffectTally", "Effects", "merge_effects"]


def merge_effects(task: Task, before: Tensor, after: Tensor, inputs: Tree, targets: Tree) -> Tensor:
    """How much the loss of each model fell by a merge, on the same samples.

    Parameters
    ----------
    task : Task
    before, after : Tensor
        Rows before and after the merge, ``[B, D]``.
    inputs, targets : Tree
        Samples of each, ``[B, S, ...]``.

    Returns
    -------
    Tensor
        Loss before less loss after, ``[B]``: positive where the merge helped, NaN where a loss is not finite.
    """
    losses = [task.evaluate_each(rows, inputs, targets)["loss"].double() for rows in (before, after)]
    effects = losses[0] - losses[1]
    return torch.where(effects.isfinite(), effects, torch.nan)


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects of one sender's models so far.

    Parameters
    ----------
    merges : int
        How many were measured.
    mean : float
    squares : float
        Sum of squared differences from the mean.
    """

    merges: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def with_one_more(self, effect: float) -> Effects:
        """Add one effect (Welford 1962)."""
        merges = self.merges + 1
        mean = self.mean + (effect - self.mean) / merges
        return Effects(merges, mean, self.squares + (effect - self.mean) * (effect - mean))

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN of fewer than two."""
        return math.sqrt(self.squares / (self.merges - 1) / self.merges) if self.merges > 1 else math.nan


class EffectTally:
    """Effects of the models of many senders, in bounded memory.

    Parameters
    ----------
    most : int
        Senders that are kept: of more, those heard last.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._of: OrderedDict[str, Effects] = OrderedDict()

    def add(self, sender: str, effect: float) -> None:
        """Add the effect of one merge; one that is not finite is left out."""
        if not math.isfinite(effect):
            return
        self._of[sender] = self._of.pop(sender, Effects()).with_one_more(effect)
        if len(self._of) > self._most:
            self._of.popitem(last=False)

    def of(self, sender: str) -> Effects | None:
        """Return what is known of a sender; None if nothing is."""
        return self._of.get(sender)

    def __len__(self) -> int:
        return len(self._of)
