"""Muffliato: noise once, then gossip, plain or accelerated; for values, and within decentralised SGD.

Cyffers, Even, Bellet and Massoulié, "Muffliato: peer-to-peer privacy amplification for decentralized optimization
and averaging", NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms.base import (
    AnyExchange,
    Exchange,
    Links,
    Mixed,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.round_noise import NoisyValues
from gossipfl.privacy.acceleration import chebyshev_weight
from gossipfl.training.descent import step_along
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["PREVIOUS", "Muffliato", "MuffliatoSGD"]

PREVIOUS = "previous"
"""Key in `Nodes.auxiliary` of the rows of the mixing before, ``[B, shared_size]``."""

Gap = Annotated[
    float | None,
    Parameter(
        "spectral gap of the mixing matrix (`gossipfl topology show`), for accelerated gossip; plain if unset",
        gt=0,
        le=1,
    ),
]
Secret = Annotated[
    bool, Parameter("whether peers draw noise from secrets; false: from rounds.seed, to be replayed")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Muffliato(NoisyValues, RoundAlgorithm):
    """Private averaging: each node adds noise to its row once, and then they gossip.

    ``X⁰ = X + N(0, σ²)``, and in every round ``X⁺ = W X``, or, accelerated, ``X⁺ = γ W X + (1 − γ) X⁻`` with
    ``γ = 2 (1 − √(λ(1 − λ/4))) / (1 − λ/2)²`` for the spectral gap λ, where X⁻ is the row of the round before and
    at first X⁰. Nodes do not train.
    """

    name = "muffliato"
    paper = "Cyffers et al., NeurIPS 2022"
    rule = "X ← X + N once; then X ← WX, or γWX + (1 − γ)X⁻"
    preserves_mean = False  # noise comes in once

    deviation: Annotated[float, Parameter("deviation of the noise on each number, σ", ge=0)] = 0.0
    clip: Annotated[
        float | None, Parameter("largest norm of a row before the noise, C; any if unset", gt=0)
    ] = None
    gap: Gap = None
    secret: Secret = True

    @property
    def requirements(self) -> Requirements:
        """The same symmetric matrix in every round."""
        return Requirements(static=self.gap is not None, symmetric=self.gap is not None)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing has been mixed."""
        if self.gap is None:
            return nodes
        return replace(nodes, auxiliary={**nodes.auxiliary, PREVIOUS: nodes.rows[:, :shared_size].clone()})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        rows = nodes.rows[:, : context.shared_size]
        previous = nodes.auxiliary.get(PREVIOUS, rows)
        if context.round == 0:
            rows = previous = context.noise.released(rows, deviation=self.deviation, clip=self.clip)
        mixed = yield Exchange(rows)
        after = _accelerated(mixed.rows, previous, self.gap)
        nodes = nodes.with_shared(after, ages=nodes.ages)
        if self.gap is None:
            return nodes
        return replace(nodes, auxiliary={**nodes.auxiliary, PREVIOUS: rows})


@dataclass(frozen=True, slots=True, kw_only=True)
class MuffliatoSGD(RoundAlgorithm):
    """Decentralised SGD with noise on clipped gradients, and several mixings a round.

    ``X⁰ = X − η (clip(G) + N(0, σ²))``, then K times ``X⁺ = W X``, or, accelerated, ``X⁺ = γ W X + (1 − γ) X⁻``
    with X⁻ = X⁰ at first.
    """

    name = "muffliato_sgd"
    paper = "Cyffers et al., NeurIPS 2022"
    rule = "X ← X − η(clip(G) + N); then K times X ← WX, or γWX + (1 − γ)X⁻"
    sends = "KP"
    preserves_mean = False

    clip: Annotated[float, Parameter("largest norm of a node's gradient, C", gt=0)] = 1.0
    deviation: Annotated[float, Parameter("deviation of the noise on each number, σ", gt=0)] = 1.0
    mixings: Annotated[int, Parameter("mixings in a round, K", gt=0)] = 1
    gap: Gap = None
    epsilon: Annotated[
        float | None,
        Parameter("ε of a peer's privacy budget, after which it adds no gradients; no limit if unset", gt=0),
    ] = None
    delta: Annotated[float, Parameter("δ of that budget", gt=0, lt=1)] = 1e-5
    secret: Secret = True

    @property
    def requirements(self) -> Requirements:
        """Training of one plain step; accelerated, the same symmetric matrix in every round."""
        is_accelerated = self.gap is not None
        return Requirements(own_steps=True, static=is_accelerated, symmetric=is_accelerated)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, rates = context.shared_size, context.local.learning_rates(nodes)
        seen, gradients = context.local.gradient(nodes)
        noisy = context.noise.released(gradients[:, :shared], deviation=self.deviation, clip=self.clip)
        after = step_along(seen, before_rest(noisy, gradients), rates=rates)
        mixed = yield from self._mixed(after.rows[:, :shared])
        return after.with_shared(mixed, ages=after.ages)

    @property
    def noise_multiplier(self) -> float:
        """Noise over the most that a gradient changes by when it is replaced, 2C."""
        return self.deviation / (2 * self.clip)

    def shifts(self, linked: NDArray[np.bool_], *, colluding: int | None = None) -> NDArray[np.float64]:
        """Largest μ of each node's gradient in one round, which may be replaced, to whoever sees its own row."""
        del colluding  # nobody knows a node's own noise
        return np.full(len(linked), 1 / self.noise_multiplier)

    def _mixed(self, rows: Tensor) -> Generator[AnyExchange, Mixed, Tensor]:
        previous = rows
        for _ in range(self.mixings):
            mixed = yield Exchange(rows)
            previous, rows = rows, _accelerated(mixed.rows, previous, self.gap)
        return rows


def _accelerated(mixed: Tensor, previous: Tensor, gap: float | None) -> Tensor:
    if gap is None:
        return mixed
    weight = chebyshev_weight(gap)
    return weight * mixed + (1 - weight) * previous
