"""Local epochs of federated averaging: passes over a node's own samples between two exchanges."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.algorithms.base import LocalTraining
from gossipfl.training.nodes import Nodes

__all__ = ["EPOCHS", "train_epochs"]

EPOCHS = "passes over a node's own samples a round; 0: training.local_steps steps instead"


def train_epochs(nodes: Nodes, local: LocalTraining, *, epochs: int, among: Tensor | None = None) -> Nodes:
    """Train nodes on their own samples, from momentum at rest.

    Parameters
    ----------
    nodes : Nodes
        B nodes.
    local : LocalTraining
    epochs : int
        Passes over a node's own samples, each ⌈samples / batch size⌉ steps, so that nodes with more samples do
        more of them (a pass's last batch is filled up from the next); 0: ``local_steps`` of the settings.
    among : Tensor, optional
        The nodes that train, bool ``[B]``; by default all.

    Returns
    -------
    Nodes
        Those that do not train with their models as they were.
    """
    if not epochs:
        steps = torch.full_like(local.samples, local.settings.local_steps)
    else:
        steps = epochs * -(-local.samples // local.settings.batch_size)
    if among is not None:
        steps = torch.where(among, steps, 0)
    return local.update(replace(nodes, optimiser_state=torch.zeros_like(nodes.optimiser_state)), steps)
