"""Fine-tuning: what rows become after some steps on their owners' samples, for use or measurement.

Yu, Bagdasaryan & Shmatikov, "Salvaging federated learning by local adaptation", 2020 (arXiv 2002.04758).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training.nodes import Nodes
from gossipfl.training.trainer import Trainer

__all__ = ["fine_tuned"]


def fine_tuned(
    trainer: Trainer, rows: Tensor, ages: NDArray[np.int64], owners: NDArray[np.int64], *, steps: int
) -> Tensor:
    """Train rows further, from rest: with the first batches of their owners, and step sizes of their ages.

    Parameters
    ----------
    trainer : Trainer
    rows : Tensor
        Shape ``[B, D]``; they stay as they are.
    ages : ndarray
        Int64 ``[B]``.
    owners : ndarray
        Whose samples each is trained on, int64 ``[B]``.
    steps : int
        At least 1.

    Returns
    -------
    Tensor
        Shape ``[B, D]``.

    Raises
    ------
    SettingError
        If there are no steps.
    """
    start = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
    aged = replace(start, ages=start.ages.new_tensor(ages))
    return trainer.train(aged, owners, steps=steps)[0].rows
