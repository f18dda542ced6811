"""Runs with noise of any kind, beside dense linear algebra on all of their rows at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sims.privacy.conditioning import view_of
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.source_noise import SourceNoise
from tests.sims.privacy.dense import square_shifts


def _random(rng: np.random.Generator) -> tuple[LinearRun, np.ndarray, np.ndarray]:
    """A run, all rows that are received as functions of its sources, and who receives each."""
    n = int(rng.integers(2, 7))
    owners, deviations, sensitivities, also, groups = [], [], [], [], []
    stages, rows, receivers, held = [], [], [], np.zeros((0, 0))

    def enter(owner: int, deviation: float, sensitivity: float, other: int = -1) -> None:
        owners.append(owner)
        deviations.append(deviation)
        sensitivities.append(sensitivity)
        also.append(other)
        groups.append(int(rng.integers(2)))

    def coefficients(height: int, width: int) -> np.ndarray:
        return np.where(rng.random((height, width)) < 0.5, rng.integers(-2, 3, size=(height, width)) / 2, 0.0)

    for _ in range(int(rng.integers(1, 6))):
        first, before = len(owners), len(held)
        for node in range(n):
            if rng.random() < 0.6:
                enter(node, float(rng.choice([0, 1, 0.5])), float(rng.choice([1, 2])))
            if rng.random() < 0.5:
                enter(node, 1.0, 0.0)
        for _ in range(int(rng.integers(0, 3))):
            enter(int(rng.integers(n)), 2.0, 0.0, int(rng.integers(n)))
        entering, height = len(owners) - first, int(rng.integers(0, 2 * n))
        stage = Stage(
            transition=csr_array(coefficients(n, before + entering)),
            observed=csr_array(coefficients(height, before + entering)),
            senders=rng.integers(n, size=height),
            receivers=rng.integers(n, size=height),
            values=np.arange(first, len(owners)),
        )
        stages.append(stage)
        joint = np.zeros((before + entering, len(owners)))
        joint[:before, : held.shape[1]] = held
        joint[before + np.arange(entering), first + np.arange(entering)] = 1.0
        rows.append(stage.observed @ joint)
        receivers.append(stage.receivers)
        held = stage.transition @ joint
    whole = [np.pad(part, ((0, 0), (0, len(owners) - part.shape[1]))) for part in rows]
    noise = SourceNoise(
        deviations=np.array(deviations, dtype=float),
        sensitivities=np.array(sensitivities, dtype=float),
        also_known=np.array(also, dtype=np.int64),
        groups=np.array(groups, dtype=np.int64),
        sequences=np.zeros(len(owners), dtype=np.int64),
    )
    run = LinearRun(nodes=n, owners=np.array(owners, dtype=np.int64), stages=stages, noise=noise)
    return run, np.vstack(whole), np.concatenate(receivers)


def _expected(run: LinearRun, rows: np.ndarray, observers: list[int]) -> np.ndarray:
    noise = run.noise
    known = np.isin(run.owners, observers) | np.isin(noise.also_known, observers)
    values = np.flatnonzero((noise.sensitivities > 0) & ~known)
    moved = rows[:, values] * noise.sensitivities[values]

    def most(node: int, group: int) -> float:
        """What all values give away with their own noise alone."""
        among = values[(run.owners[values] == node) & (noise.groups[values] == group)]
        with np.errstate(divide="ignore"):
            return float(np.square(noise.sensitivities[among] / noise.deviations[among]).sum())

    losses, drawn = np.zeros(run.nodes), (rows * noise.deviations)[:, ~known]
    found = square_shifts(moved, drawn, run.owners[values], noise.groups[values], most=most)
    losses[list(found)] = list(found.values())
    losses[observers] = np.inf
    return losses


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_noise_is_accounted_for_as_by_dense_linear_algebra(seed, sees_all):
    rng = np.random.default_rng(seed)
    run, rows, receivers = _random(rng)
    observers = sorted(set(rng.integers(run.nodes, size=int(rng.integers(not sees_all, 3))).tolist()))
    if sees_all:
        view = view_of(run.overheard(), [run.nodes, *observers])
    else:
        view, rows = view_of(run, observers), rows[np.isin(receivers, observers)]
    expected = _expected(run, rows, observers)
    np.testing.assert_allclose(view.losses[: run.nodes], expected, rtol=1e-6, atol=1e-9)


def test_long_runs_keep_little_and_say_the_same():
    """1,000 rounds of a ring with noise on what leaves: a state of 6 rows, however many sources there are."""
    run = _ring(rounds=1000)
    losses = view_of(run, [0]).losses
    shorter = view_of(_ring(rounds=700), [0]).losses
    assert losses[1:] == pytest.approx(shorter[1:], rel=1e-6)  # the first value's trace is lost by then
    assert losses[1] > losses[2] > losses[3] > 0
    assert losses[1:] == pytest.approx(losses[1:][::-1], rel=1e-9)


def _ring(n: int = 6, *, rounds: int) -> LinearRun:
    """Values at the start without noise, and rows that leave with noise each round; nodes forget by halves."""
    mix = (np.eye(n) + np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)) / 6
    start = Stage(
        transition=csr_array(np.eye(n)),
        observed=csr_array((0, n)),
        senders=np.zeros(0, dtype=np.int64),
        receivers=np.zeros(0, dtype=np.int64),
        values=np.arange(n),
    )
    receivers, senders = np.nonzero(mix - np.diag(np.diag(mix)))
    both = np.hstack([np.eye(n), np.eye(n)])
    stages = [start] + [
        Stage(
            transition=csr_array(mix @ both),
            observed=csr_array(both[senders]),
            senders=senders,
            receivers=receivers,
            values=np.arange(n * (1 + t), n * (2 + t)),
        )
        for t in range(rounds)
    ]
    owners = np.tile(np.arange(n), rounds + 1)
    noise = SourceNoise.of_sources([True] * n + [False] * (n * rounds), [-1] * len(owners), owners.tolist())
    return LinearRun(nodes=n, owners=owners, stages=stages, noise=noise)


@pytest.mark.parametrize("observers", [[], [6], [-1]])
def test_observers_are_nodes(observers):
    with pytest.raises(NotAccountable, match="0 … 5"):
        view_of(_ring(rounds=2), observers)
