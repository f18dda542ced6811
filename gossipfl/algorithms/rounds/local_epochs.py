"""How much a node trains between two exchanges of federated averaging: passes over its own samples."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.algorithms.base import LocalTraining
from gossipfl.errors import SettingError
from gossipfl.training.nodes import Nodes

__all__ = ["check_epochs", "train_epochs"]


def train_epochs(
    nodes: Nodes, local: LocalTraining, *, epochs: int | None, among: Tensor | None = None
) -> Nodes:
    """Train nodes on their own samples, from momentum at rest.

    Parameters
    ----------
    nodes : Nodes
        B nodes.
    local : LocalTraining
    epochs : int or None
        Passes over a node's own samples, each ⌈samples / batch size⌉ steps, so that nodes with more samples do
        more of them (a pass's last batch is filled up from the next); None: ``local_steps`` of the settings.
    among : Tensor, optional
        Who trains, bool ``[B]``; everyone unless given.

    Returns
    -------
    Nodes
        Those that do not train with their models as they were.
    """
    if epochs is None:
        steps = torch.full_like(local.samples, local.settings.local_steps)
    else:
        steps = epochs * -(-local.samples // local.settings.batch_size)
    if among is not None:
        steps = torch.where(among, steps, 0)
    return local.update(replace(nodes, momentum=torch.zeros_like(nodes.momentum)), steps)


def check_epochs(epochs: int | None) -> None:
    """Refuse a number of epochs below one.

    Raises
    ------
    SettingError
    """
    if epochs is not None and epochs < 1:
        raise SettingError(
            "a round has no epoch",
            expected="epochs of at least 1, or None for training.local_steps",
            got=epochs,
            remedy="Set epochs = 1.",
        )
