"""Digits in an order whose first half holds 0 to 4 and whose second half holds 5 to 9, for contiguous parts."""

from __future__ import annotations

from dataclasses import replace

import torch

from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.digits import load_digits, perceptron

__all__ = ["halves"]


def halves() -> Task:
    """The digits task with its training samples in two halves of equal size."""
    return Task(name="halves", model=perceptron, data=_halves)


def _halves() -> Dataset:
    data = load_digits()
    low = torch.nonzero(data.train_targets < 5).flatten()
    high = torch.nonzero(data.train_targets >= 5).flatten()
    each = min(len(low), len(high))
    order = torch.cat([low[:each], high[:each]])
    return replace(data, train_inputs=data.train_inputs[order], train_targets=data.train_targets[order])
