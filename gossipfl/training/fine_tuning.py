"""Fine-tuning: what rows become after some steps on their owners' samples, for use or measurement.

Yu, Bagdasaryan & Shmatikov, "Salvaging federated learning by local adaptation", 2020 (arXiv 2002.04758).
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.errors import SettingError
from gossipfl.layout import Layout
from gossipfl.training.nodes import Nodes
from gossipfl.training.trainer import Trainer

__all__ = ["fine_tuned", "places_of_head"]


def fine_tuned(
    trainer: Trainer,
    rows: Tensor,
    ages: NDArray[np.int64],
    owners: NDArray[np.int64],
    *,
    steps: int,
    head: str = "",
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
    head : str
        Name, or shell pattern, of the parameters that are trained; the rest of the rows stays, buffers too. Empty:
        all.

    Returns
    -------
    Tensor
        Shape ``[B, D]``.

    Raises
    ------
    SettingError
        If there are no steps, or no trained parameter has such a name.
    """
    start = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
    nodes = replace(start, ages=start.ages.new_tensor(ages))
    if not head or steps < 1:
        return trainer.train(nodes, owners, steps=steps)[0].rows
    changes = places_of_head(trainer.layout, head).to(rows.device)
    for _ in range(steps):
        nodes, _ = trainer.train(nodes, owners, steps=1)
        nodes = replace(nodes, rows=torch.where(changes, nodes.rows, rows))
    return nodes.rows


def places_of_head(layout: Layout, head: str) -> Tensor:
    """Places in a row of the trained parameters of this name or pattern, bool ``[D]``.

    Raises
    ------
    SettingError
        If there are none.
    """
    found = torch.zeros(layout.size, dtype=torch.bool)
    trained = [entry for entry in layout.entries if entry.group != "untrained"]
    for entry in trained:
        if fnmatch.fnmatchcase(entry.name, head):
            found[entry.offset : entry.offset + entry.size] = True
    if not found.any():
        raise SettingError(
            f"no trained parameter has a name like {head!r}, which is to be fine-tuned",
            expected=f"one of {', '.join(entry.name for entry in trained)}, or a pattern such as head.*",
            got=head,
        )
    return found
