"""Noise on private values as settings declare it: of private training or an algorithm, or else as asked for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gossipfl.algorithms.round_noise import NoisyValues, PrivateRounds
from gossipfl.errors import SettingError
from gossipfl.settings import TrainingSettings
from gossipfl.training.private import sampling_rates
from gossipfl.training.step_draws import batches_apart
from sims.privacy.errors import NotAccountable
from sims.privacy.value_noise import ValueNoise

__all__ = ["declared_noise"]

Ints = NDArray[np.int64]


def declared_noise(
    training: TrainingSettings,
    algorithm: object,
    *,
    samples: Ints,
    trains: bool,
    is_alone: bool,
    noise: float | None = None,
    sensitivity: float | None = None,
) -> ValueNoise:
    """Find how far data move each private value, and the noise on it.

    Parameters
    ----------
    training : TrainingSettings
    algorithm : object
        That of the rounds; anything else if nodes send on their own schedule.
    samples : ndarray
        How many each node has, int64 ``[n]``.
    trains : bool
        Whether values are gradients.
    is_alone : bool
        Whether there is no other noise than that on values, so that its ratio to the sensitivity says all.
    noise : float, optional
        Deviation over sensitivity that is asked for, where nothing is declared.
    sensitivity : float, optional
        How far data move a value, where settings do not say so.

    Raises
    ------
    SettingError
        If what is asked for is not what is declared.
    NotAccountable
        If values have noise twice, or nobody knows how far data move them.
    """
    n = len(samples)
    _require_possible(noise, sensitivity)
    if trains and training.privacy is not None:
        if isinstance(algorithm, PrivateRounds):
            raise NotAccountable(
                "gradients have noise twice: of [training.privacy], and of the algorithm, which clips the former",
                remedy="Leave out one of them.",
            )
        privacy, rates = training.privacy, sampling_rates(samples, training.batch_size)
        _require_undeclared(noise, sensitivity, declared=privacy.noise_multiplier)
        each = privacy.clip / (rates * samples)
        cyclic = privacy.sampling == "cyclic"
        return ValueNoise(
            sensitivities=each,
            deviations=each * privacy.noise_multiplier,
            bands=privacy.bands if cyclic else 1,
            apart=np.array([batches_apart(float(rate)) for rate in rates]) if cyclic else None,
        )
    if trains and isinstance(algorithm, PrivateRounds):
        _require_undeclared(noise, sensitivity, declared=algorithm.noise_multiplier)
        return _alike(n, algorithm.deviation / algorithm.noise_multiplier, algorithm.deviation)
    if not trains and isinstance(algorithm, NoisyValues) and algorithm.deviation:
        moved: float | None = sensitivity if algorithm.clip is None else 2 * algorithm.clip
        if moved is not None:
            _require_undeclared(noise, None, declared=algorithm.deviation / moved)
        if noise == 0:
            raise SettingError(
                "the algorithm adds noise to its values", expected="--noise above 0", got=noise
            )
        moved = algorithm.deviation / (noise or 1.0) if moved is None else moved
        return _alike(n, moved, algorithm.deviation)
    if is_alone:
        if noise == 0:
            raise SettingError("without noise nothing is private", expected="--noise above 0", got=noise)
        return _alike(n, 1.0, noise or 1.0)
    moved = 2 * training.clip_norm if trains and training.clip_norm is not None else None
    if moved is not None and sensitivity not in (None, moved):
        raise SettingError(
            "gradients are clipped, so the most by which data move one is known",
            expected=f"--sensitivity left out, for {moved:g}",
            got=f"--sensitivity {sensitivity:g}",
        )
    moved = sensitivity if moved is None else moved
    if moved is None:
        raise NotAccountable(
            "there is noise in the unit of rows, and nobody knows how far a node's data move "
            + ("a gradient" if trains else "its row"),
            expected="training.clip_norm = C, for 2C, or --sensitivity" if trains else "--sensitivity",
            remedy="Say what the largest distance is between two values that should not be told apart.",
        )
    return _alike(n, moved, moved * (noise or 0.0))


def _require_possible(noise: float | None, sensitivity: float | None) -> None:
    if noise is not None and not (noise >= 0 and math.isfinite(noise)):
        raise SettingError("noise has a deviation", expected="--noise of at least 0, and finite", got=noise)
    if sensitivity is not None and not (sensitivity > 0 and math.isfinite(sensitivity)):
        raise SettingError(
            "data move a value by some distance",
            expected="--sensitivity above 0, and finite",
            got=sensitivity,
        )


def _alike(n: int, moved: float, deviation: float) -> ValueNoise:
    if not moved > 0:
        raise SettingError("data move a value by some distance", expected="--sensitivity above 0", got=moved)
    return ValueNoise(sensitivities=np.full(n, moved), deviations=np.full(n, deviation))


def _require_undeclared(noise: float | None, sensitivity: float | None, *, declared: float) -> None:
    if noise not in (None, declared):
        raise SettingError(
            "the noise of private training is set where it is declared",
            expected=f"--noise left out, for a noise multiplier of {declared:g}",
            got=f"--noise {noise:g}",
        )
    if sensitivity is not None:
        raise SettingError(
            "what data move is bounded where it is declared, by a clip",
            expected="--sensitivity left out",
            got=sensitivity,
        )
