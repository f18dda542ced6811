"""DECOR: decentralised SGD with noise of one's own and noise that neighbours share and that cancels in sums.

Allouah, Koloskova, El Firdoussi, Jaggi and Guerraoui, "The privacy power of correlated noise in decentralized
learning", ICML 2024, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.algorithms.base import Exchange, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.errors import SettingError
from gossipfl.privacy.correlated import correlated_losses
from gossipfl.training.descent import step_along
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["DECOR"]

_MOST_COALITIONS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class DECOR(RoundAlgorithm):
    """Decentralised SGD with correlated noise.

    With the gradient g_i of node i clipped to C, own noise ``z_i ~ N(0, σ²)`` on each number, and ``v_ij ~ N(0,
    σ_c²)`` that both ends of a link draw from a seed that only they know, a round is

    ``g̃_i = g_i + z_i + Σ_{j>i} v_ij − Σ_{j<i} v_ij``, ``X ← W (X − η G̃)``.

    The shared noise is drawn in whole multiples of a unit, so it sums to zero exactly over all nodes that take
    part. A node draws for every link of the round, whether or not the other end then takes part: what is left in
    the sum hides the node no less.
    """

    name = "decor"
    paper = "Allouah et al., ICML 2024"
    rule = "X ← W(X − η(clip(G) + N + V)), where V sums to zero over the nodes"
    preserves_mean = False

    clip: Annotated[float, Parameter("largest norm of a node's gradient, C", gt=0)] = 1.0
    deviation: Annotated[float, Parameter("deviation of a node's own noise, σ", gt=0)] = 1.0
    edge_deviation: Annotated[float, Parameter("deviation of the noise of a link, σ_c", ge=0)] = 0.0
    colluding: Annotated[
        int,
        Parameter(
            "how many nodes may put together what they know, in the account; 0: only who sees all rows", ge=0
        ),
    ] = 1
    epsilon: Annotated[
        float | None,
        Parameter("ε of a peer's privacy budget, after which it adds no gradients; no limit if unset", gt=0),
    ] = None
    delta: Annotated[float, Parameter("δ of that budget", gt=0, lt=1)] = 1e-5
    secret: Annotated[
        bool, Parameter("whether peers draw noise from secrets; false: from rounds.seed, to be replayed")
    ] = True

    @property
    def requirements(self) -> Requirements:
        """Links that go both ways, and training of one plain step."""
        return Requirements(links=True, symmetric=True, own_steps=True)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, rates = context.shared_size, context.local.learning_rates(nodes)
        seen, gradients = context.local.gradient(nodes)
        noisy = context.noise.released(gradients[:, :shared], deviation=self.deviation, clip=self.clip)
        links = context.links
        if links is not None and self.edge_deviation:
            cancelling = context.noise.cancelling(
                context.numbers, links, width=shared, deviation=self.edge_deviation
            )
            noisy = (noisy.to(torch.float64) + cancelling.to(noisy.device)).to(noisy.dtype)
        after = step_along(seen, before_rest(noisy, gradients), rates=rates)
        mixed = yield Exchange(after.rows[:, :shared])
        return after.with_shared(mixed.rows, ages=after.ages)

    @property
    def noise_multiplier(self) -> float:
        """Own noise over the most that a gradient changes by when it is replaced, 2C."""
        return self.deviation / (2 * self.clip)

    def shifts(self, linked: NDArray[np.bool_], *, colluding: int | None = None) -> NDArray[np.float64]:
        """Largest μ of each node's gradient in one round, which may be replaced, to the worst coalition.

        Parameters
        ----------
        linked : ndarray
            Links of the round, symmetric, bool ``[n, n]``.
        colluding : int, optional
            How many may collude, if another number than that of the settings.

        Returns
        -------
        ndarray
            Shape ``[n]``.

        Raises
        ------
        SettingError
            If there are too many coalitions to look at.
        """
        n = len(linked)
        size = min(self.colluding if colluding is None else colluding, n - 1)
        if math.comb(n, size) > _MOST_COALITIONS:
            raise SettingError(
                f"there are {math.comb(n, size):,} coalitions of {size} among {n} nodes",
                expected=f"at most {_MOST_COALITIONS:,}",
                remedy="Choose a smaller colluding.",
            )
        worst = np.zeros(n)
        for coalition in combinations(range(n), size):
            losses = correlated_losses(
                linked, deviation=self.deviation, edge_deviation=self.edge_deviation, coalition=coalition
            )
            worst = np.maximum(worst, np.where(np.isfinite(losses), losses, 0.0))
        shifts: NDArray[np.float64] = 2 * self.clip * np.sqrt(worst)
        return shifts
