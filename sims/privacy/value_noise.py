"""Noise of the private values themselves: of its own on each, or shared by the steps of a sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from gossipfl.privacy.factorised import noise_weights
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.row_space import Floats
from sims.privacy.source_noise import SourceNoise

__all__ = ["ValueNoise", "with_noise_on_values"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ValueNoise:
    """How far the data of each of n nodes move one of its values, and the noise on it, in the unit of rows.

    Parameters
    ----------
    sensitivities, deviations : ndarray
        Shape ``[n]``; a deviation of 0 is no noise.
    bands : int
        How many values in a row share noise; 1: each has its own.
    apart : ndarray, optional
        After how many values of a sequence the same data come again, int64 ``[n]``; None if any may move all.
    """

    sensitivities: Floats
    deviations: Floats
    bands: int = 1
    apart: Ints | None = None

    def __post_init__(self) -> None:
        if not (self.sensitivities > 0).all() or not (self.deviations >= 0).all():
            raise NotAccountable(
                "data move what is sent, and noise has a deviation",
                expected="sensitivities above 0, and deviations of at least 0",
            )

    @property
    def multiplier(self) -> float | None:
        """Noise in units of the sensitivity, if it is the same at all nodes, and there is some."""
        ratios = self.deviations / self.sensitivities
        same = bool(np.ptp(ratios) <= _SAME * ratios[0]) and ratios[0] > 0
        return float(ratios[0]) if same else None


_SAME = 1e-12


def with_noise_on_values(run: LinearRun, values: ValueNoise, *, in_units: bool = True) -> LinearRun:
    """Put noise on the private values of a run.

    Parameters
    ----------
    run : LinearRun
    values : ValueNoise
    in_units : bool
        Whether losses may be in units of the noise on values.

    Returns
    -------
    LinearRun
        Without `LinearRun.noise` if equal noise of their own is all there is: then it is in units of it.
    """
    found = run.noise
    if found is None:
        owners = run.owners
        found = SourceNoise.of_sources([True] * len(owners), [-1] * len(owners), owners.tolist())
    plain = found.private.all() and values.multiplier is not None
    if in_units and plain and values.bands == 1 and values.apart is None:
        return replace(run, noise=None)
    private = found.private
    sensitivities = np.where(private, values.sensitivities[run.owners], 0.0)
    own = np.where(private, values.deviations[run.owners], found.deviations)
    groups = found.groups if values.apart is None else _phases(run.owners, found, values.apart)
    noise = replace(found, sensitivities=sensitivities, deviations=own, groups=groups)
    return replace(run, noise=noise) if values.bands == 1 else _banded(run, noise, values.bands)


def _phases(owners: Ints, noise: SourceNoise, apart: Ints) -> Ints:
    """The place of each value within its cycle: the same data come at the same place of each."""
    phases = np.zeros(len(owners), dtype=np.int64)
    for sequence in np.unique(noise.sequences[noise.private]):
        among = np.flatnonzero(noise.private & (noise.sequences == sequence))
        phases[among] = np.arange(len(among)) % apart[owners[among]]
    return phases


@dataclass
class _Entries:
    """Entries of a sparse matrix."""

    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)

    def put(self, row: int, column: int, number: float) -> None:
        self.rows.append(row)
        self.columns.append(column)
        self.numbers.append(number)

    def matrix(self, height: int, width: int) -> csr_array:
        return csr_array((self.numbers, (self.rows, self.columns)), shape=(height, width), dtype=np.float64)


class _Banded:
    """A run in which values have noise ``Σ_k d_k ξ_{t−k}``: the last draws of a sequence are part of the state."""

    def __init__(self, run: LinearRun, noise: SourceNoise, bands: int) -> None:
        self._noise, self._bands, self._weights = noise, bands, noise_weights(bands).tolist()
        self._kept: dict[int, list[int]] = {}  # by sequence: the sources of its last draws, the newest last
        self.owners, self.sequences = run.owners.tolist(), noise.sequences.tolist()
        self.deviations = noise.deviations.tolist()

    def stage(self, stage: Stage, *, ended: Collection[int]) -> Stage:
        """The same stage with draws beside its state; those of sequences that end in it are not kept."""
        before = [draw for draws in self._kept.values() for draw in draws]
        places = {draw: stage.width + place for place, draw in enumerate(before)}
        width, entering = stage.width + len(before), len(stage.values)
        inner, drawn = _Entries(), list[int]()
        for place in range(stage.width + entering):
            inner.put(place, place if place < stage.width else place + len(before), 1.0)
        for place, value in enumerate(stage.values.tolist()):
            if not self._noise.private[value]:
                continue
            places[len(self.owners)] = width + entering + len(drawn)
            drawn.append(len(self.owners))
            sequence = self.sequences[value]
            latest = [*self._kept.get(sequence, ()), drawn[-1]]
            for weight, draw in zip(self._weights, reversed(latest), strict=False):
                inner.put(stage.width + place, places[draw], weight)
            self._kept[sequence] = latest[1 - self._bands :]
            self.owners.append(self.owners[value])
            self.sequences.append(sequence)
            self.deviations.append(self.deviations[value])
            self.deviations[value] = 0.0
        for sequence in ended:
            self._kept.pop(sequence, None)
        still = _Entries()
        for draw in (draw for draws in self._kept.values() for draw in draws):
            still.put(len(still.rows), places[draw], 1.0)
        whole = width + entering + len(drawn)
        wider = inner.matrix(stage.width + entering, whole)
        kept = still.matrix(len(still.rows), whole)
        return replace(
            stage,
            transition=csr_array(vstack([stage.transition @ wider, kept], format="csr")),
            observed=csr_array(stage.observed @ wider),
            values=np.concatenate([stage.values, np.array(drawn, dtype=np.int64)]),
        )


def _banded(run: LinearRun, noise: SourceNoise, bands: int) -> LinearRun:
    ends: dict[int, set[int]] = defaultdict(set)
    for sequence, number in _last_stages(run, noise).items():
        ends[number].add(sequence)
    banded = _Banded(run, noise, bands)
    stages = [banded.stage(stage, ended=ends[number]) for number, stage in enumerate(run.stages)]
    more = len(banded.owners) - len(run.owners)
    return replace(
        run,
        owners=np.array(banded.owners, dtype=np.int64),
        stages=stages,
        noise=SourceNoise(
            deviations=np.array(banded.deviations),
            sensitivities=np.concatenate([noise.sensitivities, np.zeros(more)]),
            also_known=np.concatenate([noise.also_known, np.full(more, -1)]),
            groups=np.concatenate([noise.groups, np.zeros(more, dtype=np.int64)]),
            sequences=np.array(banded.sequences, dtype=np.int64),
        ),
    )


def _last_stages(run: LinearRun, noise: SourceNoise) -> dict[int, int]:
    """The last stage in which a value of each sequence enters."""
    return {
        int(noise.sequences[value]): number
        for number, stage in enumerate(run.stages)
        for value in stage.values
        if noise.private[value]
    }
