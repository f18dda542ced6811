"""Free riders, duplicates and wrong labels, found by updates, contributions and cross-prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes
from sims.world import World
from sims.world.planted import Planted

__all__ = ["Flags", "Found", "compared", "flagged", "likeness", "updates_from"]

Floats = NDArray[np.float64]

_IDLE = 0.1  # of the median norm of an update
_SAME = 0.95  # cosine of two updates
_WORSE = 2.0  # robust deviations below the median contribution
_NOISY = 0.15
_FEWEST = 6  # participants, for a median and a deviation to mean something


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Participants that stand out.

    Parameters
    ----------
    free_riders : tuple of int
        Their updates are next to nothing.
    duplicates : tuple of pairs
        Their updates from one model go the same way.
    noisy : tuple of int
        They contribute far less than others, and their labels look wrong to models of the others.
    """

    free_riders: tuple[int, ...]
    duplicates: tuple[tuple[int, int], ...]
    noisy: tuple[int, ...]

    def of(self, i: int) -> list[str]:
        """Say what stands out of one participant."""
        said = ["free rider: its training changes next to nothing"] if i in self.free_riders else []
        others = [str(pair[pair[0] == i]) for pair in self.duplicates if i in pair]
        if others:
            said.append(f"duplicate: it has the data of node {', '.join(others)}")
        if i in self.noisy:
            said.append("wrong labels: it contributes far less than others, who predict other labels")
        return said


def updates_from(world: World, row: Tensor) -> Floats:
    """What each participant's training makes of one model: an epoch of it, at least ten steps.

    Parameters
    ----------
    world : World
    row : Tensor
        ``[D]``.

    Returns
    -------
    ndarray
        Changes of shared parameters, ``[n, P]``.
    """
    trainer = world.trainer
    counts = trainer.data.counts
    steps = max(10, math.ceil(float(np.median(counts)) / trainer.settings.batch_size))
    nodes = Nodes.start(
        row[None].expand(len(counts), -1).contiguous(), optimiser_state_size=trainer.optimiser_state_size
    )
    with torch.no_grad():
        trained, _ = trainer.train(nodes, np.arange(len(counts)), steps=steps)
    size = world.layout.shared_size
    return (trained.rows[:, :size] - row[:size]).double().numpy()


def likeness(updates: Floats) -> Floats:
    """Cosines of updates, ``[n, n]``; 0 for those that are 0."""
    norms = np.linalg.norm(updates, axis=1)
    products = np.outer(norms, norms)
    return np.where(products > 0, updates @ updates.T / np.where(products > 0, products, 1), 0.0)


def flagged(updates: Floats, contributions: list[Floats], noise: Floats) -> Flags:
    """Find participants that stand out.

    A free rider's update has less than a tenth of the median norm. Two are duplicates if the cosine of their
    updates is above 0.95. Labels are wrong where some measure of contribution is more than two robust deviations
    (1.4826 times the median absolute deviation) below its median over all but free riders, and the estimated share
    of wrong labels is above 15 %.

    Parameters
    ----------
    updates : ndarray
        From one model, ``[n, P]`` (`updates_from`).
    contributions : list of ndarray
        Measures of what each contributed, ``[n]`` each: left out, Shapley values, online estimates.
    noise : ndarray
        Estimated shares of wrong labels, ``[n]``; NaN where unknown, and then not asked for.
    """
    norms = np.linalg.norm(updates, axis=1)
    idle = norms < _IDLE * np.median(norms)
    alike = np.triu(likeness(updates) > _SAME, k=1) & ~idle[:, None] & ~idle[None, :]
    worse = np.zeros(len(norms), dtype=np.bool_)
    for each in contributions:
        worse |= _deviations(np.where(idle, np.nan, each)) < -_WORSE
    wrong = worse & ~idle & ~(noise <= _NOISY)
    return Flags(
        free_riders=tuple(np.flatnonzero(idle).tolist()),
        duplicates=tuple((int(i), int(j)) for i, j in np.argwhere(alike)),
        noisy=tuple(np.flatnonzero(wrong).tolist()),
    )


def _deviations(values: Floats) -> Floats:
    """How far values are from their median, in robust deviations; 0 where these mean nothing."""
    known = values[np.isfinite(values)]
    if len(known) < _FEWEST:
        return np.zeros(len(values))
    median = np.median(known)
    deviation = 1.4826 * np.median(np.abs(known - median))
    return np.where(np.isfinite(values), values - median, 0.0) / deviation if deviation > 0 else 0 * values


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many of one kind were planted, flagged, and both."""

    planted: int
    flagged: int
    both: int

    @property
    def precision(self) -> float:
        """Share of those flagged that were planted; NaN if none was flagged."""
        return self.both / self.flagged if self.flagged else math.nan

    @property
    def recall(self) -> float:
        """Share of those planted that were flagged; NaN if none was planted."""
        return self.both / self.planted if self.planted else math.nan

    def __add__(self, other: Found) -> Found:
        return Found(
            planted=self.planted + other.planted,
            flagged=self.flagged + other.flagged,
            both=self.both + other.both,
        )


def compared(flags: Flags, planted: Planted) -> dict[str, Found]:
    """Compare what was found with what was planted: free riders, pairs of duplicates, and wrong labels."""
    pairs = {(min(pair), max(pair)) for pair in planted.duplicates.items()}
    kinds: dict[str, tuple[set[object], set[object]]] = {
        "free riders": (set(planted.free_riders), set(flags.free_riders)),
        "duplicates": (set(pairs), set(flags.duplicates)),
        "wrong labels": (set(planted.noisy), set(flags.noisy)),
    }
    return {
        kind: Found(planted=len(there), flagged=len(found), both=len(there & found))
        for kind, (there, found) in kinds.items()
    }
