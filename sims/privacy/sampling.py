"""Private training on sampled batches: what a run's own settings promise for each sample, whoever looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.factorised import sensitivities
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from gossipfl.settings import TrainingSettings
from gossipfl.training.private import sampling_rates
from gossipfl.training.step_draws import batches_apart
from sims.privacy.errors import NotAccountable
from sims.replay.peer_records import read_peers
from sims.scenario import Scenario
from sims.world import build_world

__all__ = ["PrivateTraining", "SampledLoss", "private_training_of_homes", "private_training_of_scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledLoss:
    """What one node's training steps give away of a sample.

    Parameters
    ----------
    node, steps : int
    rate : float
        Probability of each of its samples to be in a batch.
    epsilon : float
    """

    node: int
    steps: int
    rate: float
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTraining:
    """The mechanism of every node's training steps.

    Parameters
    ----------
    multiplier : float
        Deviation of the noise, in units of the clip.
    rates : ndarray
        Sampling rate of each node, ``[nodes]``.
    bands : int
        How many steps share noise, with cyclic batches; 0 for Poisson sampling.
    """

    multiplier: float
    rates: NDArray[np.float64]
    bands: int = 0

    def worst(self, steps: NDArray[np.int64], *, delta: float) -> SampledLoss:
        """Find the node whose samples lose most to whoever sees all that its steps led to.

        Parameters
        ----------
        steps : ndarray
            Of each node, int64 ``[nodes]``.
        delta : float
        """
        kinds = sorted({(float(rate), int(count)) for rate, count in zip(self.rates, steps, strict=True)})
        losses = {(rate, count): self._epsilon(rate, count, delta) for rate, count in kinds}
        each = [losses[float(rate), int(count)] for rate, count in zip(self.rates, steps, strict=True)]
        node = int(np.argmax(each))
        return SampledLoss(
            node=node, steps=int(steps[node]), rate=float(self.rates[node]), epsilon=each[node]
        )

    def _epsilon(self, rate: float, steps: int, delta: float) -> float:
        if not self.bands:
            return sampled_epsilon({Mechanism(rate, self.multiplier): steps}, delta=delta)
        moved = sensitivities(self.bands, apart=batches_apart(rate), steps=steps)
        return gaussian_guarantee(float(np.linalg.norm(moved)) / self.multiplier, delta=delta).epsilon


def private_training_of_scenario(scenario: Scenario) -> PrivateTraining | None:
    """Find the private training that a scenario declares; None if it declares none."""
    training = scenario.training
    if training.privacy is None or not training.enabled:
        return None
    return _of(training, build_world(scenario).trainer.data.counts)


def private_training_of_homes(homes: Sequence[Path]) -> PrivateTraining | None:
    """Find the private training of recorded peers, in the order of their homes; None if it was not.

    Raises
    ------
    NotAccountable
        If it was of only some, or there are starts without a record of how many samples they had.
    """
    found: list[PrivateTraining | None] = []
    for peer in read_peers(homes):
        of_lives = []
        for life in peer.lives.values():
            counts = np.array([data.samples for data in life.data], dtype=np.int64)
            training = life.settings.training
            if training.privacy is not None and not len(counts):
                raise NotAccountable(f"peer {peer.peer} did not record how many samples it trained on")
            of_lives.append(None if training.privacy is None else _of(training, counts))
        found += [max(of_lives, key=_cost)] if of_lives else []
    if all(each is None for each in found):
        return None
    whole = [each for each in found if each is not None]
    if len(whole) < len(found) or len({(each.multiplier, each.bands) for each in whole}) > 1:
        raise NotAccountable("peers trained with different noise", expected="one noise_multiplier at all")
    return PrivateTraining(
        multiplier=whole[0].multiplier,
        rates=np.array([each.rates.max() for each in whole]),
        bands=whole[0].bands,
    )


def _of(training: TrainingSettings, counts: NDArray[np.int64]) -> PrivateTraining:
    assert training.privacy is not None  # noqa: S101  (the callers looked)
    return PrivateTraining(
        multiplier=training.privacy.noise_multiplier,
        rates=sampling_rates(counts, training.batch_size),
        bands=training.privacy.bands if training.privacy.sampling == "cyclic" else 0,
    )


def _cost(training: PrivateTraining | None) -> float:
    """Order of starts of one peer, the one that costs most last."""
    return np.inf if training is None else float(training.rates.max()) / training.multiplier
