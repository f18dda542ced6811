"""Free riders, duplicates and wrong labels, found by updates, gradients and cross-prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes, Trainer
from sims.contribution.cross_prediction import LabelNoise
from sims.world.planted import Planted

__all__ = ["Flags", "Found", "compared", "flagged", "flags_at", "gradients_at", "likeness", "updates_from"]

Floats = NDArray[np.float64]

_IDLE = 0.1  # of the median norm of an update
_SAME = 0.99  # cosine of two gradients
_CLOSER = 0.1  # of what separates the median pair: gradients of small models are all alike
_EQUAL = 1e-4  # one less the cosine of equal gradients, with rounding
_MOST_SAMPLES = 4096
_NOISY = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Participants that stand out.

    Parameters
    ----------
    free_riders : tuple of int
        Their updates are next to nothing.
    duplicates : tuple of pairs
        Their gradients at one model go the same way.
    noisy : tuple of int
        Many of their labels look wrong to models that did not see them.
    """

    free_riders: tuple[int, ...]
    duplicates: tuple[tuple[int, int], ...]
    noisy: tuple[int, ...]

    def among_others(self, i: int) -> list[str]:
        """Say who else stands out, which may be why one participant has less than alone."""
        kinds = {"free riders": self.free_riders, "wrong labels": self.noisy}
        found = {kind: [str(node) for node in nodes if node != i] for kind, nodes in kinds.items()}
        return [f"it averages with {kind}: node {', '.join(nodes)}" for kind, nodes in found.items() if nodes]

    def of(self, i: int) -> list[str]:
        """Say what stands out of one participant."""
        said = ["free rider: its training changes next to nothing"] if i in self.free_riders else []
        others = [str(pair[pair[0] == i]) for pair in self.duplicates if i in pair]
        if others:
            said.append(f"duplicate: it has the data of node {', '.join(others)}")
        if i in self.noisy:
            said.append("wrong labels: models that did not see its samples predict other ones")
        return said


def updates_from(trainer: Trainer, row: Tensor) -> Floats:
    """What each participant's training makes of one model: an epoch of it, at least ten steps.

    Parameters
    ----------
    trainer : Trainer
        Of n participants.
    row : Tensor
        ``[D]``.

    Returns
    -------
    ndarray
        Changes of shared parameters, ``[n, P]``.
    """
    counts = trainer.data.counts
    steps = max(10, math.ceil(float(np.median(counts)) / trainer.settings.batch_size))
    nodes = Nodes.start(
        row[None].expand(len(counts), -1).contiguous(), optimiser_state_size=trainer.optimiser_state_size
    )
    with torch.no_grad():
        trained, _ = trainer.train(nodes, np.arange(len(counts)), steps=steps)
    size = trainer.layout.shared_size
    return (trained.rows[:, :size] - row[:size]).double().numpy()


def gradients_at(trainer: Trainer, row: Tensor) -> Floats:
    """Gradients of participants' losses, each over all of its samples, at one model: equal for equal samples.

    Parameters
    ----------
    trainer : Trainer
        Of n participants.
    row : Tensor
        ``[D]``.

    Returns
    -------
    ndarray
        Without weight decay and clipping, ``[n, P]``, of shared parameters.
    """
    size = trainer.layout.shared_size
    nodes = Nodes.start(row[None], optimiser_state_size=trainer.optimiser_state_size)
    found = []
    for i, count in enumerate(trainer.data.counts.tolist()):
        plain = {"batch_size": min(count, _MOST_SAMPLES), "weight_decay": 0.0, "clip_norm": None}
        whole = replace(trainer, settings=trainer.settings.model_copy(update=plain))
        _, gradients = whole.gradient(nodes, np.array([i]))
        found.append(gradients[0, :size].double().numpy())
    return np.stack(found)


def likeness(updates: Floats) -> Floats:
    """Cosines of updates, or of gradients, ``[n, n]``; 0 for those that are 0."""
    norms = np.linalg.norm(updates, axis=1)
    products = np.outer(norms, norms)
    return np.where(products > 0, updates @ updates.T / np.where(products > 0, products, 1), 0.0)


def flagged(updates: Floats, gradients: Floats, noise: LabelNoise) -> Flags:
    """Find participants that stand out.

    A free rider's update has less than a tenth of the median norm. Two are duplicates if the cosine of their
    gradients is above 0.99, and they are ten times closer than the median pair. Labels are wrong where their
    estimated share is above 15 %, and chance explains so many disagreements for none of n participants in 99 of
    100 networks.

    Parameters
    ----------
    updates : ndarray
        From one model, ``[n, P]`` (`updates_from`).
    gradients : ndarray
        At one model, over all of each one's samples, ``[n, P]`` (`gradients_at`).
    noise : LabelNoise
    """
    norms = np.linalg.norm(updates, axis=1)
    idle = norms < _IDLE * np.median(norms)
    at_work = np.triu(~idle[:, None] & ~idle[None, :], k=1)
    apart = 1 - likeness(gradients)
    usual = float(np.median(apart[at_work])) if at_work.any() else 0.0
    alike = at_work & (apart < 1 - _SAME) & (apart < max(_CLOSER * usual, _EQUAL))
    wrong = noise.looks_wrong(share=_NOISY) & ~idle
    return Flags(
        free_riders=tuple(np.flatnonzero(idle).tolist()),
        duplicates=tuple((int(i), int(j)) for i, j in np.argwhere(alike)),
        noisy=tuple(np.flatnonzero(wrong).tolist()),
    )


def flags_at(trainer: Trainer, rows: Tensor, noise: LabelNoise) -> Flags:
    """Find participants that stand out, by updates from and gradients at the mean of their models ``[n, D]``."""
    mean = rows.double().mean(dim=0).to(rows.dtype)
    with torch.no_grad():
        gradients = gradients_at(trainer, mean)
    return flagged(updates_from(trainer, mean), gradients, noise)


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
