"""Claims of a scenario's noise about the rows that a node sends, beside what attacks prove."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from gossipfl.settings.outgoing import ClipSettings, NoiseSettings
from gossipfl.training.private import sampling_rates
from sims.privacy.attacks.sent_rows import SentRows

__all__ = ["Claim", "claim_of"]

_NONE = "no noise is accounted for, or rounds are not what nodes learn in"


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


def claim_of(runs: Sequence[SentRows], *, delta: float) -> Claim:
    """Account for a scenario's noise, against whoever sees all that a node ever sends.

    Private training is accounted for by its steps, at the highest sampling rate of any node in any run. Clipped
    and noisy rows are each a Gaussian mechanism of μ = 2C/σ, whatever they were computed from. With both, the
    smaller ε is the claim.

    Parameters
    ----------
    runs : sequence of SentRows
        Of one scenario, on different samples.
    delta : float
    """
    claims = [_by_rows(runs[0], delta), _by_steps(runs, delta)]
    return min(claims, key=lambda each: each.epsilon)


def _by_rows(run: SentRows, delta: float) -> Claim:
    norm = one = math.inf
    for each in run.world.scenario.outgoing:
        if isinstance(each, ClipSettings):
            norm = min(norm, each.norm)
        elif isinstance(each, NoiseSettings):  # of several noises the best alone is counted
            one = min(one, 2 * norm / each.deviation)
    if not math.isfinite(one) or run.releases is None:
        return Claim(epsilon=math.inf, delta=delta, why=_NONE)
    return Claim(
        epsilon=gaussian_guarantee(math.sqrt(run.releases) * one, delta=delta).epsilon,
        delta=delta,
        why=f"{run.releases} rows of norm {norm:g} with noise",
    )


def _by_steps(runs: Sequence[SentRows], delta: float) -> Claim:
    training, steps = runs[0].world.scenario.training, runs[0].steps
    if training.privacy is None or steps is None:
        return Claim(epsilon=math.inf, delta=delta, why=_NONE)
    rates = [sampling_rates(run.world.trainer.data.counts, training.batch_size).max() for run in runs]
    mechanism = Mechanism(float(max(rates)), training.privacy.noise_multiplier)
    return Claim(
        epsilon=sampled_epsilon({mechanism: steps}, delta=delta),
        delta=delta,
        why=f"{steps} private steps at a rate of {mechanism.rate:.3g}",
    )
