"""Claims of a scenario's noise about the rows that a node sends, beside what attacks prove."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossipfl.privacy import gaussian_guarantee
from gossipfl.settings.outgoing import ClipSettings, NoiseSettings
from gossipfl.training.private import sampling_rates
from sims.privacy.attacks.sent_rows import SentRows
from sims.privacy.round_mechanisms import rounds_loss
from sims.privacy.sampling import PrivateTraining
from sims.scenario import Scenario

__all__ = ["Claim", "Spent", "claim_for", "claim_of", "spent_in"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the busiest node released in a run.

    Parameters
    ----------
    releases, steps : int or None
        Rows and training steps; None if nobody counted.
    rate : float
        The highest sampling rate of a node.
    """

    releases: int | None
    steps: int | None
    rate: float


def spent_in(runs: Sequence[SentRows]) -> Spent:
    """Count what was released in runs of one scenario on different samples."""
    batch = runs[0].world.scenario.training.batch_size
    rates = [sampling_rates(run.world.trainer.data.counts, batch).max() for run in runs]
    return Spent(releases=runs[0].releases, steps=runs[0].steps, rate=float(max(rates)))


def claim_of(runs: Sequence[SentRows], *, delta: float) -> Claim:
    """Account for a scenario's noise in runs of it on different samples; see `claim_for`."""
    return claim_for(runs[0].world.scenario, spent_in(runs), delta=delta)


def claim_for(scenario: Scenario, spent: Spent, *, delta: float) -> Claim:
    """Account for a scenario's noise, against whoever sees all that a node ever sends.

    Private training is accounted for by its steps, at the highest sampling rate of any node. Clipped and noisy
    rows are each a Gaussian mechanism of μ = 2C/σ, whatever they were computed from. Noise of an algorithm on
    gradients hides whole gradients, and so each sample. The smallest ε is the claim.

    Parameters
    ----------
    scenario : Scenario
    spent : Spent
    delta : float
    """
    claims = [
        _by_rows(scenario, spent, delta),
        _by_steps(scenario, spent, delta),
        _by_rounds(scenario, delta),
    ]
    return min(claims, key=lambda each: each.epsilon)


def _by_rows(scenario: Scenario, spent: Spent, delta: float) -> Claim:
    norm = one = math.inf
    for each in scenario.outgoing:
        if isinstance(each, ClipSettings):
            norm = min(norm, each.norm)
        elif isinstance(each, NoiseSettings):  # of several noises the best alone is counted
            one = min(one, 2 * norm / each.deviation)
    if not math.isfinite(one) or spent.releases is None:
        return Claim(epsilon=math.inf, delta=delta, why=_NONE)
    return Claim(
        epsilon=gaussian_guarantee(math.sqrt(spent.releases) * one, delta=delta).epsilon,
        delta=delta,
        why=f"{spent.releases} rows of norm {norm:g} with noise",
    )


def _by_steps(scenario: Scenario, spent: Spent, delta: float) -> Claim:
    privacy, steps = scenario.training.privacy, spent.steps
    if privacy is None or steps is None:
        return Claim(epsilon=math.inf, delta=delta, why=_NONE)
    training = PrivateTraining(
        multiplier=privacy.noise_multiplier,
        rates=np.array([spent.rate]),
        bands=privacy.bands if privacy.sampling == "cyclic" else 0,
    )
    return Claim(
        epsilon=training.worst(np.array([steps]), delta=delta).epsilon,
        delta=delta,
        why=f"{steps} private steps at a rate of {spent.rate:.3g}",
    )


def _by_rounds(scenario: Scenario, delta: float) -> Claim:
    loss = rounds_loss(scenario, delta=delta)
    if loss is None:
        return Claim(epsilon=math.inf, delta=delta, why=_NONE)
    return Claim(epsilon=loss.epsilon, delta=delta, why=f"{loss.rounds} rounds of {scenario.algorithm.name}")
