"""Training of participants alone, for as many steps as they did with others."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes, Trainer

__all__ = ["trained_alone"]

Ints = NDArray[np.int64]


def trained_alone(trainer: Trainer, first: Tensor, steps: Ints) -> Tensor:
    """Train every node on its own samples only.

    Parameters
    ----------
    trainer : Trainer
        Of n nodes.
    first : Tensor
        Rows before any training, ``[n, D]``, or ``[1, D]`` if all start from the same.
    steps : ndarray
        How many each does, int64 ``[n]``.

    Returns
    -------
    Tensor
        ``[n, D]``.
    """
    n = len(trainer.data.counts)
    state = Nodes.start(first.expand(n, -1).contiguous(), optimiser_state_size=trainer.optimiser_state_size)
    owners, done, rows = np.arange(n), 0, state.rows.clone()
    with torch.no_grad():
        for until in np.unique(steps[steps > 0]).tolist():
            going = np.flatnonzero(steps[owners] >= until)
            state, owners = state.select(torch.from_numpy(going)), owners[going]
            state, _ = trainer.train(state, owners, steps=until - done)
            rows[torch.from_numpy(owners)] = state.rows
            done = until
    return rows
