"""Claims of a scenario's noise about the rows that a node sends, beside what attacks prove."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from gossipfl.settings.outgoing import ClipSettings, NoiseSettings
from gossipfl.training.private import sampling_rates
from sims.privacy.attacks.sent_rows import Setting

__all__ = ["Claim", "claim_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A guarantee for whoever sees all that a node sends.

    Parameters
    ----------
    epsilon : float
        Infinite without noise.
    delta : float
    why : str
    """

    epsilon: float
    delta: float
    why: str


def claim_of(setting: Setting, *, delta: float) -> Claim:
    """Account for a scenario's noise, against whoever sees all that a node ever sends.

    Private training is accounted for by its steps, for the node that samples at the highest rate among those with
    half of their samples. Clipped and noisy rows are each a Gaussian mechanism of μ = 2C/σ, whatever they were
    computed from. With both, the smaller ε is the claim.

    Parameters
    ----------
    setting : Setting
    delta : float
    """
    claims = [_by_rows(setting, delta), _by_steps(setting, delta)]
    return min(claims, key=lambda each: each.epsilon)


def _by_rows(setting: Setting, delta: float) -> Claim:
    norm = one = math.inf
    for each in setting.scenario.outgoing:
        if isinstance(each, ClipSettings):
            norm = min(norm, each.norm)
        elif isinstance(each, NoiseSettings):  # of several noises the best alone is counted
            one = min(one, 2 * norm / each.deviation)
    if not math.isfinite(one) or setting.network is None:
        return Claim(epsilon=math.inf, delta=delta, why="no noise is accounted for")
    shift = math.sqrt(setting.rounds) * one
    return Claim(
        epsilon=gaussian_guarantee(shift, delta=delta).epsilon,
        delta=delta,
        why=f"{setting.rounds} rows of norm {norm:g} with noise",
    )


def _by_steps(setting: Setting, delta: float) -> Claim:
    training = setting.scenario.training
    if training.privacy is None or setting.network is None:
        return Claim(epsilon=math.inf, delta=delta, why="no noise is accounted for")
    counts = setting.world.trainer.data.counts // 2
    rate = float(sampling_rates(counts, training.batch_size).max())
    steps = setting.rounds * training.local_steps
    mechanism = Mechanism(rate, training.privacy.noise_multiplier)
    return Claim(
        epsilon=sampled_epsilon({mechanism: steps}, delta=delta),
        delta=delta,
        why=f"{steps} private steps at a rate of {rate:.3g}",
    )
