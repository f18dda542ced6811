"""CHOCO-SGD: gossip on copies that neighbours keep of each other, updated by compressed differences.

Koloskova, Stich & Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed
communication", ICML 2019: Algorithm 1 (CHOCO-Gossip) and Algorithm 2 (CHOCO-SGD).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.codecs import Compressor
from gossipfl.training.nodes import Nodes

__all__ = ["CONSENSUS_STEP_SIZE", "ChocoSGD"]

CONSENSUS_STEP_SIZE = (
    "γ: how far a node moves towards its neighbours; the coarser the codec, the smaller it must be"
)

_PUBLIC, _MIXED = "public copies", "mixed public copies"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChocoSGD(RoundAlgorithm):
    """Train, send the compressed difference to the node's public copy, and move towards the neighbours' copies.

    With x̂_j the copy of node j's model that its neighbours have, all equal and at first zero, a round is

    * ``x_i ← x_i − η g_i``;
    * send ``q_i = Q(x_i − x̂_i)``; everybody who has x̂_j adds q_j to it;
    * ``x_i ← x_i + γ Σ_j w_ij (x̂_j − x̂_i)``.

    A node keeps x̂_i and the sum Σ_j w_ij x̂_j, not each copy, which is why the matrix must not change. The mean
    of all models is preserved whatever Q does. Without training this is CHOCO-Gossip; where Q is the identity and
    γ = 1 it is D-PSGD (adapt-then-combine).

    A lost message leaves copies that differ, whose pull keeps moving the mean until ``restart_every`` resets all
    copies in the same round.
    """

    name = "choco"
    paper = "Koloskova, Stich & Jaggi, ICML 2019"
    rule = "q = Q(x − x̂), x̂ ← x̂ + q, x_i ← x_i + γ Σ_j w_ij (x̂_j − x̂_i) after the step"
    sends = "P through the codec"
    peers_with = "restart_every"

    codec: Annotated[Compressor | None, Parameter("Q; the identity if unset", formerly="compressor")] = None
    consensus_step_size: Annotated[float, Parameter(CONSENSUS_STEP_SIZE, gt=0, le=1)] = 1.0
    restart_every: Annotated[
        int | None, Parameter("rounds after which public copies are reset to zero; never if unset", ge=1)
    ] = None

    @property
    def requirements(self) -> Requirements:
        """The same symmetric, doubly stochastic matrix in every round."""
        harm = "public copies that differ keep shifting the mean, unless restart_every is set"
        return Requirements(
            symmetric=True, static=True, every_message=harm if self.restart_every is None else None
        )

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Public copies are zero."""
        copies = {name: torch.zeros_like(nodes.rows[:, :shared_size]) for name in (_PUBLIC, _MIXED)}
        return replace(nodes, auxiliary={**nodes.auxiliary, **copies})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        own = trained.rows[:, : context.shared_size]
        kept: Mapping[str, Tensor] = nodes.auxiliary
        if self.restart_every is not None and context.round % self.restart_every == 0:
            kept = self.start(nodes, shared_size=context.shared_size).auxiliary
        mixed = yield Exchange(own - kept[_PUBLIC], compressor=self.codec)
        public, mixed_public = kept[_PUBLIC] + mixed.sent, kept[_MIXED] + mixed.rows
        moved = own + self.consensus_step_size * (mixed_public - public)
        after = trained.with_shared(moved, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, _PUBLIC: public, _MIXED: mixed_public})
