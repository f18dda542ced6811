"""Spam or not, from 57 word and character counts: the linear task of the first gossip learning papers."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.keel import keel_table
from gossipfl.tasks.task import Task

__all__ = ["load_spambase", "spambase"]

_TEST_SAMPLES = 461


class Hyperplane(nn.Module):
    """A linear function through the origin, zero at first."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Signed distances (times the norm of the weights), ``[S]``."""
        return inputs @ self.weight


def hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean hinge loss; targets are −1 or 1. With weight decay λ and step size 1/(λt) it is Pegasos."""
    return torch.relu(1 - targets * outputs).mean()


def sign_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of samples on their own side of the plane."""
    return (outputs * targets > 0).float().mean()


def load_spambase(*, seed: int = 0) -> Dataset:
    """Read Spambase (Hopkins et al. 1999): features to mean 0 and deviation 1 over the training set, and a 1.

    Parameters
    ----------
    seed : int
        Chooses the 461 test samples; the other 4,136 are for training.

    Returns
    -------
    Dataset
        Inputs ``[n, 58]``, targets ``[n]`` of −1 and 1, float32.

    Raises
    ------
    InvalidTask
        If the data cannot be fetched.
    """
    table = keel_table("spambase")
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(table))
    features, targets = table[order, :-1], 2 * table[order, -1] - 1
    training = features[_TEST_SAMPLES:]
    scaled = (features - training.mean(axis=0)) / training.std(axis=0)
    inputs = torch.from_numpy(np.column_stack([scaled, np.ones(len(scaled), dtype=np.float32)]))
    return Dataset(
        train_inputs=inputs[_TEST_SAMPLES:],
        train_targets=torch.from_numpy(targets[_TEST_SAMPLES:]),
        test_inputs=inputs[:_TEST_SAMPLES],
        test_targets=torch.from_numpy(targets[:_TEST_SAMPLES]),
    )


def spambase(*, seed: int = 0) -> Task:
    """Support vector machine on Spambase, as Ormándi et al. 2013 learn it.

    Parameters
    ----------
    seed : int
        Seed of the train/test split.
    """
    return Task(
        name=f"spambase/{seed}",
        model=partial(Hyperplane, 58),
        data=partial(load_spambase, seed=seed),
        loss=hinge,
        metrics={"accuracy": sign_accuracy},
        seed=seed,
    )
