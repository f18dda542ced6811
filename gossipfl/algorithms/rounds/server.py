"""Averages taken by a server, for baselines outside gossip."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gossipfl.algorithms.base import Exchange, LocalTraining, Mixed
from gossipfl.training.nodes import Nodes

__all__ = ["WEIGHTING", "Weighting", "of_one_model", "server_mean", "to_server", "weights_of"]

Weighting = Literal["nodes", "samples"]
"""Whether nodes have equal weights, or weights proportional to their samples."""

WEIGHTING = "every node counts the same, or as much as it has samples"


def of_one_model(nodes: Nodes, *, shared_size: int) -> Nodes:
    """Nodes that all share the parameters of the first."""
    return nodes.with_shared(nodes.rows[:1, :shared_size].expand(len(nodes), -1), ages=nodes.ages)


def weights_of(local: LocalTraining, weighting: Weighting, *, like: Tensor) -> Tensor:
    """Weight of each node in a mean, shape ``[B, 1]``, of the dtype of ``like``."""
    weights = torch.ones_like(local.samples) if weighting == "nodes" else local.samples
    return weights.to(like.dtype)[:, None]


def to_server(
    rows: Tensor, weights: Tensor, *, senders: Tensor | None = None, ages: Tensor | None = None
) -> Exchange:
    """Send weighted rows and their weights to a server, which averages both.

    Parameters
    ----------
    rows : Tensor
        Shape ``[B, K]``.
    weights : Tensor
        Shape ``[B, 1]``.
    senders : Tensor, optional
        Bool ``[B]``; by default all. Rows of others are ignored.
    ages : Tensor, optional
        Ages of the rows, int64 ``[B]``, of which the server tells the largest.
    """
    message = torch.cat([weights * rows, weights], dim=1)
    if senders is not None:
        message = torch.where(senders[:, None], message, 0)
    return Exchange(message, over="server", senders=senders, ages=ages)


def server_mean(answer: Mixed) -> Tensor:
    """Weighted mean of the rows sent with `to_server`, shape ``[B, K]``, every row the same."""
    return answer.rows[:, :-1] / answer.rows[:, -1:]
