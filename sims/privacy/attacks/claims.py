"""What a scenario's noise claims of the rows that a node sends, beside what attacks prove."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossipfl.privacy import gaussian_guarantee
from gossipfl.settings.outgoing import ClipSettings, NoiseSettings
from sims.scenario import Scenario

__all__ = ["Claim", "claim_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A guarantee for whoever sees all that a node sends.

    Parameters
    ----------
    epsilon : float
        Infinite without noise.
    delta : float
    releases : int
        How many rows a node sends.
    why : str
    """

    epsilon: float
    delta: float
    releases: int
    why: str


def claim_of(scenario: Scenario, *, releases: int, delta: float) -> Claim:
    """Account for clipped and noisy rows: each is a Gaussian mechanism of μ = 2C/σ, whatever it was computed from.

    Parameters
    ----------
    scenario : Scenario
    releases : int
        Rows that a node sends in all.
    delta : float
    """
    norm = one = math.inf
    for each in scenario.outgoing:
        if isinstance(each, ClipSettings):
            norm = min(norm, each.norm)
        elif isinstance(each, NoiseSettings):  # of several noises the best alone is counted
            one = min(one, 2 * norm / each.deviation)
    if not math.isfinite(one):
        return Claim(epsilon=math.inf, delta=delta, releases=releases, why="no noise on clipped rows")
    shift = math.sqrt(releases) * one
    return Claim(
        epsilon=gaussian_guarantee(shift, delta=delta).epsilon,
        delta=delta,
        releases=releases,
        why=f"rows of norm {norm:g} with noise, {releases} times",
    )
