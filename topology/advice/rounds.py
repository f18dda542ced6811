"""Rounds of decentralised SGD to a target, from the consensus curve of a topology.

Koloskova et al., "A unified theory of decentralized SGD with changing topology and local updates", ICML 2020,
bound the mean over rounds of ‖∇f‖² by three terms (the proof of Theorem 2, without its constants)::

    F₀ / (η T)  +  η L σ² / n  +  L² Ξ,

with step size η and consensus distance Ξ. They bound Ξ by ``η² (ζ² τ²/p² + σ² τ/p)``, from a worst case that
decays by 1 − p every τ rounds. Who gets which number in a topology is arbitrary, though, and if numbers are dealt
out at random, c_t / c₀ of the consensus curve is *exactly* what t rounds leave of any disagreement, in
expectation. A node that is away from the others is also pulled back by the loss itself: a step on a loss of
curvature L leaves 1 − ηL of a deviation. So where nodes step and then mix, a round at a time::

    Ξ ≤ η² (ζ² H² + σ² S)
    H = Σ_{t ≥ 1} (1 − ηL)^{t − 1} √(c_t / c₀)
    S = Σ_{t ≥ 1} (1 − ηL)^{2(t − 1)} c_t / c₀

the first by the triangle inequality, for differences between gradients that stay; the second for noise that is
new in every round. The rounds T follow for each η ≤ 1/L, and the best η is taken. As ε → 0 steps become short,
nothing pulls back, and the terms of the theorem are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from topology.spectrum import MixingRate

__all__ = ["Training", "kept_up"]

_STEPS = np.geomspace(1e-12, 1.0, 800)  # of the longest; neighbours differ by 3.5 %
_Floats = NDArray[np.float64]


def kept_up(curve: _Floats, rate: MixingRate, pull: _Floats) -> tuple[_Floats, _Floats]:
    """Return S and H of a consensus curve for each share `pull` of a deviation that a local step takes back.

    Past its end the curve is continued at the worst case of `rate`, which for doubly stochastic matrices of a
    fixed period bounds it from above.

    Parameters
    ----------
    curve : float64 [rounds + 1]
        From `topology.spectrum.consensus_curve`.
    rate : MixingRate
        With p above 0.
    pull : float64 [k]
        ηL, from 0 to 1.

    Returns
    -------
    S, H : float64 [k]
        0 for exact averaging in every round.
    """
    if curve[0] <= 0:
        return np.zeros(len(pull)), np.zeros(len(pull))
    left = np.maximum(curve[1:] / curve[0], 0.0)
    stays = (1.0 - pull)[:, None] ** np.arange(len(left))
    slowest = max(1 - rate.p, 0.0)

    def summed(weights: _Floats, left: _Floats, slowest: float) -> _Floats:
        # The last `rounds` points repeat, each time smaller: a geometric series.
        ratio = slowest * weights[:, min(rate.rounds, len(left) - 1)]
        repeated = weights[:, -rate.rounds :] @ left[-rate.rounds :]
        total: _Floats = weights @ left + repeated * ratio / (1 - ratio)
        return total

    return summed(stays**2, left, slowest), summed(stays, np.sqrt(left), slowest**0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained, and how far.

    Parameters
    ----------
    n : int
        Nodes.
    heterogeneity, noise : float
        ζ and σ.
    target : float
        ε.
    smoothness, initial_gap : float
        L and F₀.
    """

    n: int
    heterogeneity: float
    noise: float
    target: float
    smoothness: float
    initial_gap: float

    def rounds(self, curve: _Floats, rate: MixingRate) -> tuple[float, float]:
        """Return the fewest rounds T with which the three terms are ε in all, and the ηL ≤ 1 that has them."""
        pull = _STEPS * self._longest_step()
        S, H = kept_up(curve, rate, pull)
        return self._fewest(pull, pull**2 * (self.heterogeneity**2 * H**2 + self.noise**2 * S))

    @property
    def ideal_rounds(self) -> float:
        """The fewest rounds where every round averages exactly."""
        pull = _STEPS * self._longest_step()
        return self._fewest(pull, np.zeros(len(pull)))[0]

    def _longest_step(self) -> float:
        """The largest ηL, at most 1, whose noise alone leaves room below ε."""
        quiet = (self.target * self.n) ** 0.5
        return 1.0 if self.noise <= quiet else (quiet / self.noise) ** 2

    def _fewest(self, pull: _Floats, apart: _Floats) -> tuple[float, float]:
        room = self.target - pull * self.noise**2 / self.n - apart
        progress = np.where(room > 0, pull * room, 0.0)
        best = int(progress.argmax())
        if progress[best] <= 0:
            return inf, 0.0
        return float(self.smoothness * self.initial_gap / progress[best]), float(pull[best])
