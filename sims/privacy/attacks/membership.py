"""Membership inference on models as neighbours saw them: loss threshold, and likelihood ratio with shadow runs.

A shadow run is the whole scenario again, all its nodes side by side in the trainer, with a fair coin for each
sample that says whether it is trained on. Each run is attacked with what the others show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks.samples import count, map_leaves
from sims.privacy.attacks.auditing import (
    Rate,
    advantage,
    area_under_curve,
    epsilon_of_one_run,
    epsilon_of_rates,
    true_rate_at,
)
from sims.privacy.attacks.sent_rows import SentRows, Setting
from sims.privacy.errors import NotAccountable
from sims.world import World

__all__ = [
    "MembershipFindings",
    "Observations",
    "confidences_of",
    "findings_of",
    "likelihood_ratios",
    "losses_of_samples",
    "measured",
    "observed_runs",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ROW_BYTES = 2**26
_LEAST_LOSS = 1e-12
_FEWEST_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Losses of samples on the models that their owners sent, in several runs.

    Parameters
    ----------
    included : ndarray
        Whether each sample was trained on, bool ``[R, n]``.
    losses : ndarray
        Mean over the rounds that were looked at, float64 ``[R, n]``.
    owners, samples : ndarray
        Node of each sample, and its place in the pool, int64 ``[n]``.
    runs : sequence of SentRows
        All R of them.
    """

    included: Bools
    losses: Floats
    owners: NDArray[np.int64]
    samples: NDArray[np.int64]
    runs: Sequence[SentRows]

    @property
    def confidences(self) -> Floats:
        """Logits of the confidences e^−loss, nearly normal (Carlini et al. 2022, equation 4), ``[R, n]``."""
        return confidences_of(self.losses)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipFindings:
    """Outcome of one attack over all runs.

    Parameters
    ----------
    members, others : int
        How many of each were judged.
    auc, advantage : float
    true_rates : dict of float to Rate
        By false positive rate.
    epsilon : float
        Lower bound from the rates, as if samples were independent.
    epsilon_of_one_run : float or None
        Lower bound that needs no independence, from the first run alone; None where no coins were thrown.
    """

    members: int
    others: int
    auc: float
    advantage: float
    true_rates: dict[float, Rate]
    epsilon: float
    epsilon_of_one_run: float | None = None


def confidences_of(losses: Floats) -> Floats:
    """Logits of the confidences e^−loss, of losses of any shape."""
    scaled: Floats = -np.log(np.expm1(np.clip(losses, _LEAST_LOSS, 500.0)))
    return scaled


def losses_of_samples(
    world: World, rows: Tensor, owners: NDArray[np.int64], samples: NDArray[np.int64]
) -> Floats:
    """Loss of each sample on the row of its owner.

    Parameters
    ----------
    world : World
    rows : Tensor
        ``[N, D]``.
    owners, samples : ndarray
        A row, and a sample of the pool, each: int64 ``[n]``.

    Returns
    -------
    ndarray
        Float64 ``[n]``.
    """
    data, found = world.trainer.data, []
    together = max(1, _ROW_BYTES // (rows.shape[1] * rows.element_size()))
    for first in range(0, len(samples), together):
        some = slice(first, first + together)
        inputs, targets = data.at(samples[some])
        alone = map_leaves(lambda leaf: leaf.unsqueeze(1), (inputs, targets))
        of_owners = rows[torch.from_numpy(owners[some])]
        found.append(world.task.evaluate_each(of_owners, *alone)["loss"].double().numpy())
    return np.concatenate(found)


def observed_runs(
    setting: Setting,
    *,
    runs: int,
    looks: int = 1,
    on_run: Callable[[int], None] = lambda number: None,
) -> Observations:
    """Run a scenario several times, each time on a random half of all samples.

    Parameters
    ----------
    setting : Setting
    runs : int
        At least 3.
    looks : int
        At how many of the last rounds the senders' rows are seen.
    on_run : callable, optional
        Told how many are done.
    """
    if runs < _FEWEST_RUNS:
        raise NotAccountable("a run is attacked with what others show", expected="at least 3 runs", got=runs)
    data = setting.world.trainer.data
    owners = np.repeat(np.arange(len(data.counts)), data.counts)
    if setting.network is None:
        looks = 1
    kept = range(max(0, setting.rounds - looks), setting.rounds)
    included = np.zeros((runs, len(owners)), dtype=bool)
    losses = np.zeros((runs, len(owners)))
    seen = []
    for run in range(runs):
        on_run(run)
        coins = np.random.Generator(np.random.Philox(key=[setting.scenario.seed, 1000 + run]))
        included[run] = (coins.random(count(data.targets)) < 0.5)[data.indices]  # one coin, whoever owns it
        sent = setting.run(included=included[run], seed=run + 1, kept=kept, expected_runs=runs)
        for rows in sent.rows.values():
            found = losses_of_samples(sent.world, rows, owners, data.indices)
            losses[run] += np.nan_to_num(found, nan=500.0, posinf=500.0) / len(sent.rows)
        seen.append(sent)
    return Observations(included=included, losses=losses, owners=owners, samples=data.indices, runs=seen)


def likelihood_ratios(observed: Observations, *, online: bool = True) -> Floats:
    """Scores of LiRA for each run, with all others as its shadows.

    Each sample's confidences on models that were trained with it, and without, are taken for normal, with a
    deviation that all samples share, as Carlini et al. do where shadows are few.

    Parameters
    ----------
    observed : Observations
    online : bool
        Whether shadows that were trained with the sample are used; without them it is the offline variant.

    Returns
    -------
    ndarray
        Logarithm of the likelihood ratio, or offline how far the confidence is above that of models trained
        without, float64 ``[R, n]``.

    References
    ----------
    Carlini et al., "Membership inference attacks from first principles", IEEE S&P 2022, algorithm 1.
    """
    confidences, included = observed.confidences, observed.included
    scores = np.zeros_like(confidences)
    for run in range(len(confidences)):
        shadows = np.arange(len(confidences)) != run
        without = _normal(confidences[shadows], ~included[shadows])
        if not online:
            scores[run] = (confidences[run] - without[0]) / without[1]
            continue
        having = _normal(confidences[shadows], included[shadows])
        scores[run] = _log_density(confidences[run], *having) - _log_density(confidences[run], *without)
    return scores


def measured(
    observed: Observations,
    scores: Floats,
    *,
    among: Bools | None = None,
    delta: float,
    confidence: float = 0.95,
    false_rates: Sequence[float] = (0.1, 0.01, 0.001),
) -> MembershipFindings:
    """Measure an attack.

    Parameters
    ----------
    observed : Observations
    scores : ndarray
        ``[R, n]``.
    among : ndarray, optional
        Which samples are judged, bool ``[n]``: those of an observer's neighbours.
    delta, confidence : float
    false_rates : sequence of float
    """
    chosen = np.zeros(scores.shape[1], dtype=bool)
    chosen[np.unique(observed.samples, return_index=True)[1]] = True  # a sample of two nodes has one coin
    if among is not None:
        chosen &= among
    included, judged = observed.included[:, chosen], scores[:, chosen]
    return replace(
        findings_of(
            judged[included], judged[~included], delta=delta, confidence=confidence, false_rates=false_rates
        ),
        epsilon_of_one_run=epsilon_of_one_run(judged[0], included[0], delta=delta, confidence=confidence),
    )


def findings_of(
    members: Floats,
    others: Floats,
    *,
    delta: float,
    confidence: float = 0.95,
    false_rates: Sequence[float] = (0.1, 0.01, 0.001),
) -> MembershipFindings:
    """Measure an attack by its scores of members and of others."""
    return MembershipFindings(
        members=len(members),
        others=len(others),
        auc=area_under_curve(members, others),
        advantage=advantage(members, others),
        true_rates={rate: true_rate_at(members, others, rate, confidence=confidence) for rate in false_rates},
        epsilon=epsilon_of_rates(members, others, delta=delta, confidence=confidence),
    )


def _normal(values: Floats, among: Bools) -> tuple[Floats, float]:
    """Mean of each column over some of its entries (of all, where there are none), and a common deviation."""
    counts = among.sum(axis=0)
    sums = np.where(among, values, 0.0).sum(axis=0)
    overall = sums.sum() / max(1, counts.sum())
    means = np.where(counts, sums / np.maximum(counts, 1), overall)
    left = np.square(np.where(among, values - means, 0.0)).sum()
    freedom = max(1, int(counts.sum() - (counts > 0).sum()))
    return means, float(np.sqrt(max(left / freedom, _LEAST_LOSS)))


def _log_density(values: Floats, means: Floats, deviation: float) -> Floats:
    scaled: Floats = -np.square((values - means) / deviation) / 2 - np.log(deviation)
    return scaled
