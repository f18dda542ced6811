"""Steps against gradients that need not be the nodes' own."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gossipfl.training.nodes import Nodes, before_rest
from gossipfl.training.optimisers import SGD, Optimiser

__all__ = ["step_along"]

_PLAIN = SGD()


def step_along(nodes: Nodes, gradients: Tensor, *, rates: Tensor, optimiser: Optimiser = _PLAIN) -> Nodes:
    """Let nodes take a step against gradients that need not be their own; ages and steps stay.

    Parameters
    ----------
    nodes : Nodes
        B nodes, with the optimiser's state.
    gradients : Tensor
        Shape ``[B, trainable_size]``.
    rates : Tensor
        Step sizes, shape ``[B, 1]``.
    optimiser : Optimiser
        Plain gradient descent unless given.

    Returns
    -------
    Nodes
    """
    width = gradients.shape[1]
    trained, state = optimiser.step(nodes.rows[:, :width], gradients, nodes.optimiser_state, rates=rates)
    return replace(nodes, rows=before_rest(trained, nodes.rows), optimiser_state=state)
