"""Handwritten digits as 8 points of a pen's path, and a small perceptron."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from gossipfl.tasks.keel import keel_table
from gossipfl.tasks.task import Dataset, Task

__all__ = ["load_pendigits", "pendigits"]

_TEST_SAMPLES = 2198


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))


def load_pendigits(*, seed: int = 0) -> Dataset:
    """Read Pendigits (Alpaydin & Alimoglu 1996), coordinates scaled from 0 … 100 to −1 … 1.

    Parameters
    ----------
    seed : int
        Chooses the 2,198 test samples; the other 8,794 are for training.

    Returns
    -------
    Dataset
        Inputs ``[n, 16]`` float32, targets ``[n]`` int64.

    Raises
    ------
    InvalidTask
        If the data cannot be fetched.
    """
    table = keel_table("penbased")
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(table))
    inputs = torch.from_numpy(table[order, :-1] / 50 - 1)
    targets = torch.from_numpy(table[order, -1].astype(np.int64))
    return Dataset(
        train_inputs=inputs[_TEST_SAMPLES:],
        train_targets=targets[_TEST_SAMPLES:],
        test_inputs=inputs[:_TEST_SAMPLES],
        test_targets=targets[:_TEST_SAMPLES],
    )


def pendigits(*, seed: int = 0) -> Task:
    """Perceptron 16-32-10 on Pendigits.

    Parameters
    ----------
    seed : int
        Seed of the train/test split and of the initial row.
    """
    return Task(
        name=f"pendigits/{seed}", model=_perceptron, data=partial(load_pendigits, seed=seed), seed=seed
    )
