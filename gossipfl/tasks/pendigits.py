"""Handwritten digits as 8 points of a pen's path, and a small perceptron."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from gossipfl.layout import SharePolicy
from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.keel import keel_table
from gossipfl.tasks.task import Task

__all__ = ["load_pendigits", "pendigits"]

_TEST_SAMPLES = 2198


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))


def load_pendigits() -> Dataset:
    """Read Pendigits (Alpaydin & Alimoglu 1996), coordinates scaled from 0 … 100 to −1 … 1.

    The last 2,198 samples of the file, a fifth, are for testing, the first 8,794 for training.

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
    inputs = torch.from_numpy(table[:, :-1] / 50 - 1)
    targets = torch.from_numpy(table[:, -1].astype(np.int64))
    return Dataset(
        train_inputs=inputs[:-_TEST_SAMPLES],
        train_targets=targets[:-_TEST_SAMPLES],
        test_inputs=inputs[-_TEST_SAMPLES:],
        test_targets=targets[-_TEST_SAMPLES:],
    )


def pendigits(*, seed: int = 0, local: str = "") -> Task:
    """Perceptron 16-32-10 on Pendigits.

    Parameters
    ----------
    seed : int
        Seed of the initial row.
    local : str
        Pattern of the names of parameters that stay with their peer: ``"2.*"`` is the last layer, the head.

    Raises
    ------
    InvalidTask
        If no parameter has such a name.
    """
    share = SharePolicy(local=(local,) if local else ())
    return Task(name=f"pendigits/{seed}", model=_perceptron, data=load_pendigits, seed=seed, share=share)
