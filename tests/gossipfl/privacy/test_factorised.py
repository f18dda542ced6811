"""Square-root factors: their algebra, their sensitivity by brute force, and what noise is left in sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm, toeplitz

from gossipfl.privacy.factorised import factor, noise_weights, sensitivities


def lower(column):
    return np.tril(toeplitz(column))


@pytest.mark.parametrize("bands", [1, 2, 5, 24])
def test_weights_and_factor_are_inverse(bands):
    weights = np.zeros(24)
    weights[:bands] = noise_weights(bands)
    assert lower(weights) @ lower(factor(bands, 24)) == pytest.approx(np.eye(24), abs=1e-12)


def test_with_all_bands_it_is_the_square_root_of_sums():
    sums = lower(np.ones(16))
    assert lower(factor(16, 16)) == pytest.approx(sqrtm(sums).real, abs=1e-6)
    assert noise_weights(4) == pytest.approx([1, -1 / 2, -1 / 8, -1 / 16])


@pytest.mark.parametrize(
    ("bands", "apart", "steps"), [(1, 3, 9), (2, 2, 8), (4, 3, 10), (6, 10, 10), (3, 1, 5)]
)
def test_the_sensitivity_is_that_of_the_worst_sample(bands, apart, steps):
    """Over first batches, and signs of the sample's gradients in all its batches."""
    columns, worst = lower(factor(bands, steps)), 0.0
    for first in range(min(apart, steps)):
        batches = range(first, steps, apart)
        for signs in itertools.product([1.0, -1.0, 0.0], repeat=len(batches)):
            moved = sum(sign * columns[:, batch] for sign, batch in zip(signs, batches, strict=True))
            worst = max(worst, float(np.linalg.norm(moved)))
    assert np.sqrt(np.square(sensitivities(bands, apart=apart, steps=steps)).sum()) == pytest.approx(worst)


def test_sums_have_less_noise_at_the_same_privacy():
    steps, apart = 256, 64
    errors = []
    for bands in (1, 16):
        weights = np.zeros(steps)
        weights[:bands] = noise_weights(bands)
        shift = np.square(sensitivities(bands, apart=apart, steps=steps)).sum()
        noise_in_sums = lower(np.ones(steps)) @ lower(weights)
        errors.append(np.square(noise_in_sums).sum(axis=1).mean() * shift)  # at μ = 1
    assert errors[1] < errors[0] / 2
