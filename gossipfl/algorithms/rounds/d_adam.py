"""Adam whose second moments are mixed as models are, so that all nodes scale their gradients alike.

Chen, Karimi, Zhao & Li, "On the convergence of decentralized adaptive gradient methods", ACML 2023
(arXiv:2109.03194): with second moments of their own, nodes do not converge to where the mean gradient is zero, but
to where the mean of differently scaled gradients is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.codecs import FLOAT32, Compressor
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["FIRST", "SECOND", "DAdam"]

FIRST, SECOND = "first moment", "second moment"
"""Keys in `Nodes.auxiliary` of m and v, ``[B, D]``; zero where nothing is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DAdam(RoundAlgorithm):
    """Adam on mixed models and mixed second moments.

    With m = v = 0 at first, round t = 1, 2, … is

    * ``m_i ← β₁ m_i + (1 − β₁) g_i``, ``v_i ← β₂ v_i + (1 − β₂) g_i²``;
    * ``x_i ← x_i − η m_i/(1 − β₁ᵗ) / (√(v_i/(1 − β₂ᵗ)) + ε)``;
    * ``x_i ← Σ_j w_ij x_j`` and ``v_i ← Σ_j w_ij v_j``.

    The mean of all v_i is what it would be if everybody had all gradients: v is linear in g². With moments of its
    own, a node takes full steps along gradients that are small, such as those of words that its owner never
    writes. What stays local has its own second moment. t is the number of the round, for newcomers as well.

    v changes little in 1/(1 − β₂) rounds, so it need not be mixed in each: with ``moments_every`` = k it goes in k
    parts, one a round, in turn. Moments differ by orders of magnitude, and one that arrives as zero would make a
    step as long as it gets: a codec for them must keep ratios, as floating point does and `int8` does not.
    """

    name = "d_adam"
    paper = "Chen et al., ACML 2023"
    rule = "m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², X ← W(X − ηm/√v), V ← WV"
    sends = "P, and P / moments_every in moments_codec"

    beta1: Annotated[float, Parameter("β₁", ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Parameter("β₂", ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Parameter("ε", gt=0)] = 1e-8
    moments_every: Annotated[int, Parameter("k: rounds in which each second moment is mixed once", ge=1)] = 1
    moments_codec: Annotated[
        Compressor | None, Parameter("how second moments are sent, e.g. bfloat16; as float32 if unset")
    ] = None

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices, and training of one step without momentum of its own."""
        return Requirements(own_steps=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise both moments with zeros."""
        zeros = torch.zeros_like(nodes.rows)
        return replace(nodes, auxiliary={**nodes.auxiliary, FIRST: zeros, SECOND: zeros.clone()})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, t = context.shared_size, context.round + 1
        rates = context.local.learning_rates(nodes)
        seen, gradients = context.local.gradient(nodes)
        width = gradients.shape[1]
        first, second = nodes.auxiliary[FIRST], nodes.auxiliary[SECOND]
        m = torch.lerp(first[:, :width], gradients, 1 - self.beta1)
        v = torch.lerp(second[:, :width], gradients.square(), 1 - self.beta2)
        scale = v.div(1 - self.beta2**t).sqrt_().add_(self.epsilon)
        stepped = torch.addcmul(seen.rows[:, :width], m / scale, rates / (1 - self.beta1**t), value=-1)
        mixed = yield Exchange(stepped[:, :shared])
        part = self._part(context)
        moments = yield Exchange(v[:, part], compressor=self.moments_codec or FLOAT32)
        rows = before_rest(mixed.rows, before_rest(stepped, seen.rows))
        second = before_rest(v, second)
        # What arrives through a codec may be below zero.
        second[:, part] = moments.rows.clamp(min=0)
        kept = {**seen.auxiliary, FIRST: before_rest(m, first), SECOND: second}
        return replace(seen, rows=rows, auxiliary=kept)

    def _part(self, context: RoundContext) -> slice:
        """Which second moments are mixed in a round: as many in each, so that messages have one form."""
        size = -(-context.shared_size // self.moments_every)
        first = min(context.round % self.moments_every * size, context.shared_size - size)
        return slice(first, first + size)
