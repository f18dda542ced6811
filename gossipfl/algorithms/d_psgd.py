"""Decentralised parallel stochastic gradient descent: average with one's neighbours, and take a gradient step.

Lian et al., "Can decentralized algorithms outperform centralized algorithms?", NeurIPS 2017, Algorithm 1; the
orders of adaptation and combination: Chen & Sayed, "Diffusion adaptation strategies for distributed optimization
and learning over networks", IEEE Trans. Signal Processing 60(8), 2012.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gossipfl.training.nodes import Nodes

__all__ = ["DPSGD", "Order"]

Order = Literal["adapt-then-combine", "combine-then-adapt", "both-at-once"]
Update = Callable[[Nodes], Nodes]


@dataclass(frozen=True, slots=True)
class DPSGD:
    """The round-based algorithm: a round is ``outgoing``, then averaging with weights W, then ``incoming``.

    Writing G(X) for the stochastic gradients at X, a round is

    * adapt-then-combine: ``X ← W (X − η G(X))``;
    * combine-then-adapt: ``X ← W X − η G(W X)``;
    * both-at-once: ``X ← W X − η G(X)`` (Lian et al. 2017, Algorithm 1), whose exchange and gradient can overlap.

    Parameters
    ----------
    order : Order
    """

    order: Order = "adapt-then-combine"

    def outgoing(self, nodes: Nodes, *, update: Update, shared_size: int) -> tuple[Nodes, Tensor]:
        """Do what comes before the exchange.

        Parameters
        ----------
        nodes : Nodes
            B nodes at the start of a round.
        update : callable
            Local training.
        shared_size : int

        Returns
        -------
        nodes : Nodes
            To be handed to `incoming`.
        shared : Tensor
            What the nodes send, ``[B, shared_size]``.
        """
        if self.order == "combine-then-adapt":
            return nodes, nodes.rows[:, :shared_size]
        trained = update(nodes)
        if self.order == "adapt-then-combine":
            return trained, trained.rows[:, :shared_size]
        return trained, nodes.rows[:, :shared_size]

    def incoming(self, nodes: Nodes, mixed: Tensor, *, sent: Tensor, update: Update) -> Nodes:
        """Do what comes after the exchange.

        Parameters
        ----------
        nodes : Nodes
            As `outgoing` returned them.
        mixed : Tensor
            Σ_j w_ij · (what j sent), ``[B, shared_size]``.
        sent : Tensor
            What each of the nodes itself sent, ``[B, shared_size]``.
        update : callable
            Local training.

        Returns
        -------
        Nodes
        """
        match self.order:
            case "adapt-then-combine":
                return nodes.with_shared(mixed, ages=nodes.ages)
            case "combine-then-adapt":
                return update(nodes.with_shared(mixed, ages=nodes.ages))
            case "both-at-once":
                step = nodes.rows[:, : mixed.shape[1]] - sent
                return nodes.with_shared(torch.add(mixed, step), ages=nodes.ages)
