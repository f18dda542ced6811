"""Recovery of nodes: from divergence, and under settings other than those their state was saved with.

Averaging does not mend a row that holds NaN or an infinity, nor one so large that training overflows again. So a
model that diverged goes back to one that was good, and then takes over a neighbour's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.algorithms.messages import Message, MessageAlgorithm
from gossipfl.training.nodes import Nodes

__all__ = ["adopt", "go_back", "resumed"]


def go_back(nodes: Nodes, good: Nodes) -> Nodes:
    """Give nodes the models they had when all was well.

    Parameters
    ----------
    nodes : Nodes
        B nodes that diverged.
    good : Nodes
        The same nodes, earlier.

    Returns
    -------
    Nodes
        With the earlier rows, ages and auxiliary rows, and the optimiser at rest. Steps are counted on from
        ``nodes``, so that other batches are drawn than those that led astray.

    Examples
    --------
    >>> import torch
    >>> from gossipfl.training import Nodes
    >>> good = Nodes.start(torch.ones(1, 3))
    >>> bad = Nodes.start(torch.full((1, 3), torch.nan))
    >>> go_back(bad, good).rows
    tensor([[1., 1., 1.]])
    """
    return replace(good, steps=nodes.steps, optimiser_state=torch.zeros_like(nodes.optimiser_state))


def adopt(nodes: Nodes, message: Message) -> Nodes:
    """Replace models by received ones, without averaging.

    Parameters
    ----------
    nodes : Nodes
        B nodes, whose local parts are finite.
    message : Message
        One model for each.

    Returns
    -------
    Nodes
        With the received shared parameters and ages, what stays local as it was, and the optimiser at rest.

    Examples
    --------
    >>> import torch
    >>> from gossipfl.training import Nodes
    >>> from gossipfl.algorithms import Message
    >>> own = Nodes.start(torch.zeros(1, 3))
    >>> adopt(own, Message(shared=torch.ones(1, 2), ages=torch.tensor([7]))).rows
    tensor([[1., 1., 0.]])
    """
    received = nodes.with_shared(message.shared, ages=message.ages)
    return replace(received, optimiser_state=torch.zeros_like(nodes.optimiser_state))


def resumed(nodes: Nodes, algorithm: MessageAlgorithm, *, optimiser_state_size: int) -> Nodes:
    """Let saved nodes continue under an algorithm and a training that may differ from before.

    Parameters
    ----------
    nodes : Nodes
        As they were saved.
    algorithm : MessageAlgorithm
    optimiser_state_size : int
        Width of the optimiser states that training needs.

    Returns
    -------
    Nodes
        With the optimiser at rest, or auxiliary rows as the algorithm starts with, where those saved do not fit;
        and with as many ages as it has parts.

    Examples
    --------
    >>> import torch
    >>> from gossipfl.algorithms import GossipLearning
    >>> from gossipfl.training import Nodes
    >>> resumed(Nodes.start(torch.zeros(1, 3)), GossipLearning(), optimiser_state_size=3).optimiser_state.shape
    torch.Size([1, 3])
    """
    nodes = nodes.with_optimiser_state(optimiser_state_size).with_parts(algorithm.behaviour.sharing.ages)
    begun = start_nodes(algorithm, replace(nodes, auxiliary={}))
    return nodes if _forms(nodes) == _forms(begun) else begun


def _forms(nodes: Nodes) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    def form(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
        return tuple(tensor.shape), tensor.dtype

    return {name: form(tensor) for name, tensor in nodes.auxiliary.items()}
