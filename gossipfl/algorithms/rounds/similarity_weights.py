"""Neighbours weighed by how alike they are: by their models' losses at home, or by where they train to.

Losses: Zec, Ekblom, Willbo, Mogren & Girdzijauskas, "Decentralized adaptive clustering of deep nets is
beneficial for client collaboration", 2022 (arXiv 2206.08839); cosines of updates: Sattler, Müller & Samek,
"Clustered federated learning", IEEE Trans. Neural Networks and Learning Systems 32(8), 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.base import (
    Links,
    LocalTraining,
    Neighbourhood,
    NeighbourRows,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rules import losses_at_own_samples, own_losses
from gossipfl.codecs.draws import common_key
from gossipfl.sketches import sketches
from gossipfl.training.nodes import Nodes

__all__ = ["SimilarityWeights"]

_DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityWeights(RoundAlgorithm):
    """``x_i ← Σ_j p_ij x_j`` after local training, with ``p_ij ∝ w_ij exp(τ s_ij)``.

    The sum is over the neighbours and the node itself, whose s is 0.

    * By ``loss``: ``s_ij = ℓ_i(x_i) − ℓ_i(x_j)``, on the node's next batch. (The paper takes 1/ℓ_i(x_j), which
      grows without bound for the node's own model, and draws neighbours with these probabilities instead of
      weighing them.)
    * By ``cosine``: that of the two nodes' drifts, less 1. A drift is the sum of all own steps so far. Count
      sketches of them go with the models, so that they cost a few hundred numbers.

    With τ = 0 it is D-PSGD.
    """

    name = "similarity_weights"
    paper = "Zec et al., 2022; Sattler, Müller & Samek, IEEE TNNLS 2021"
    rule = (
        "x_i ← Σ_j p_ij x_j after a step, p_ij ∝ w_ij exp(τ s_ij); s by my losses, or by cosines of all steps"
    )
    sends = "P; P + width by cosine"
    preserves_mean = False

    by: Annotated[
        Literal["loss", "cosine"], Parameter("s: by losses on the node's own batch, or by cosines of drifts")
    ] = "loss"
    sharpness: Annotated[float, Parameter("τ: how much likeness counts", ge=0)] = 5.0
    width: Annotated[int, Parameter("numbers in a sketch of a drift, by cosine", ge=1)] = 256

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one."""
        return Requirements(stochastic="rows")

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nodes that have not moved yet."""
        del links
        if self.by == "loss":
            return nodes
        still = torch.zeros_like(nodes.rows[:, :shared_size])
        return replace(nodes, auxiliary={**nodes.auxiliary, _DRIFT: still})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        size = context.shared_size
        trained = context.local.update(nodes)
        rows = trained.rows[:, :size]
        if self.by == "loss":
            mixed = yield NeighbourRows(
                rows, rule=partial(self.by_losses, trained=trained, local=context.local)
            )
            return trained.with_shared(mixed.rows, ages=trained.ages)
        drift = nodes.auxiliary[_DRIFT] + rows - nodes.rows[:, :size]
        key = common_key(seed=context.seed, round_number=context.round)
        sketch = sketches(drift, size, key=key, width=self.width).to(rows.dtype)
        mixed = yield NeighbourRows(
            torch.cat([rows, sketch], dim=1), rule=partial(self.by_cosines, size=size)
        )
        after = trained.with_shared(mixed.rows, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, _DRIFT: drift})

    def by_losses(self, around: Neighbourhood, *, trained: Nodes, local: LocalTraining) -> Tensor:
        """Weigh by losses."""
        losses = losses_at_own_samples(around, around.present, trained=trained, local=local)
        own = own_losses(around, trained=trained, local=local)
        return _weighed(around, self.sharpness * (own - losses))

    def by_cosines(self, around: Neighbourhood, *, size: int) -> Tensor:
        """Weigh by cosines of the sketches behind the models."""
        own, theirs = around.own[:, size:], around.rows[..., size:]
        cosines = torch.nn.functional.cosine_similarity(own[:, None], theirs, dim=2)
        models = replace(around, own=around.own[:, :size], rows=around.rows[..., :size])
        return _weighed(models, self.sharpness * (cosines - 1))


def _weighed(around: Neighbourhood, exponents: Tensor) -> Tensor:
    """Mean of the own and the neighbours' rows by ``w_ij exp(exponents)``, ``[b, K]``; the own exponent is 0."""
    logarithms = torch.where(around.present, around.weights.log() + exponents, -torch.inf)
    together = torch.cat([around.own_weights[:, None].log(), logarithms], dim=1)
    nobody = together.isinf().all(dim=1, keepdim=True)
    weights = torch.where(nobody, 0, together).softmax(dim=1).masked_fill(nobody, 0)
    weights[:, 0] += nobody[:, 0]
    known = torch.where((weights[:, 1:] > 0)[..., None], around.rows, 0)
    return weights[:, :1] * around.own + torch.einsum("bk,bkd->bd", weights[:, 1:], known)
