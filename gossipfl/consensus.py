"""The consensus distance of models as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossipfl.layout import Layout
from gossipfl.rows import Rows

__all__ = ["Spread", "consensus_distance", "layer_distances", "spread_of"]

_CHUNK_ROWS, _CHUNK_NUMBERS = 4096, 2**21


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean of rows, and how far they are from it.

    Parameters
    ----------
    count : int
        Number of rows.
    mean : Tensor
        Float64 ``[K]``; NaN of no rows.
    distance : float
        Their mean squared distance from it.
    """

    count: int
    mean: Tensor
    distance: float

    @classmethod
    def joined(cls, parts: Sequence[Spread]) -> Spread:
        """The spread of all rows from those of parts of them.

        References
        ----------
        Chan, Golub & LeVeque, "Algorithms for computing the sample variance", American Statistician 37, 1983.
        """
        parts = [each for each in parts if each.count] or list(parts[:1])
        count = sum(each.count for each in parts)
        if len(parts) == 1:
            return parts[0]
        mean = torch.stack([each.mean * (each.count / count) for each in parts]).sum(dim=0)
        squares = [each.count * (each.distance + float((each.mean - mean).square().sum())) for each in parts]
        return cls(count=count, mean=mean, distance=sum(squares) / count)


def consensus_distance(rows: Rows, shared_size: int, among: npt.NDArray[np.bool_] | None = None) -> float:
    """Return the mean squared distance of the shared parameters from their mean, ``(1/n) Σ ‖xᵢ − x̄‖²``.

    What stays local (parameters that are not shared, frozen ones, buffers) is no part of it: nodes do not try to
    agree on that. `topology.spectrum.consensus_distance` is the same of any vectors.

    Parameters
    ----------
    rows : Rows
        Shape ``[N, D]``, float32 or float64, on any device: a tensor, or what is read like one.
    shared_size : int
        Length of the shared part, which comes first in a row.
    among : ndarray, optional
        Which nodes count, bool ``[N]``; all if left out.

    Returns
    -------
    float
        In squared units of the parameters. NaN if no row counts, or a model has diverged.

    References
    ----------
    Koloskova, Loizou, Boreiri, Jaggi and Stich, "A unified theory of decentralized SGD with changing topology and
    local updates", ICML 2020, equation (12) without its expectation.
    """
    return spread_of(rows, shared_size, among).distance


def spread_of(rows: Rows, shared_size: int, among: npt.NDArray[np.bool_] | None = None) -> Spread:
    """Return the mean of rows and their distance from it; arguments are those of `consensus_distance`."""
    chosen = np.arange(len(rows)) if among is None else np.flatnonzero(among)
    if not len(chosen):
        nothing = torch.full((shared_size,), float("nan"), dtype=torch.float64)
        return Spread(count=0, mean=nothing, distance=float("nan"))
    everyone = len(chosen) == len(rows)
    total = torch.zeros(shared_size, dtype=torch.float64, device=rows.device)
    square = 0.0
    # Distances from one of the rows keep the sums small, so that they may be subtracted.
    first = int(chosen[0])
    pilot = rows[first : first + 1][0, :shared_size].double()
    chunk = max(1, min(_CHUNK_ROWS, _CHUNK_NUMBERS // max(1, shared_size)))
    for start in range(0, len(chosen), chunk):
        if everyone:
            part = rows[start : start + chunk][:, :shared_size]
        else:
            index = torch.from_numpy(chosen[start : start + chunk]).to(rows.device)
            part = rows.index_select(0, index)[:, :shared_size]
        centred = part - pilot.to(part.dtype) if rows.dtype == torch.float32 else part.double() - pilot
        total += centred.sum(0, dtype=torch.float64)
        square += float((centred * centred).sum(dtype=torch.float64))
    mean = total / len(chosen)
    distance = square / len(chosen) - float(mean @ mean)
    distance = distance if math.isnan(distance) else max(0.0, distance)
    return Spread(count=len(chosen), mean=(pilot + mean).cpu(), distance=distance)


def layer_distances(
    rows: Tensor, layout: Layout, among: npt.NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Return the consensus distance of every shared tensor; they add up to that of the whole shared part."""
    return {
        entry.name: consensus_distance(rows[:, entry.offset : entry.offset + entry.size], entry.size, among)
        for entry in layout.entries
        if entry.group == "shared"
    }
