"""Many small views as one array: row i holds the entries of view i, packed to the left, -1 behind them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Flags",
    "Numbers",
    "Views",
    "are_among",
    "contains",
    "counts",
    "draw_order",
    "first_of_each",
    "nobody",
    "packed",
    "picked",
    "pushed",
    "without",
]

Views: TypeAlias = NDArray[np.int32]
"""int32 [n, width]: indices of peers, -1 where there is none."""
Numbers: TypeAlias = NDArray[np.int32]
Flags: TypeAlias = NDArray[np.bool_]

EMPTY = -1


def nobody(*shape: int) -> Views:
    """Views without entries."""
    return np.full(shape, EMPTY, dtype=np.int32)


def counts(views: Views) -> Numbers:
    """Entries in each view: int32 [n]."""
    entries: Numbers = (views >= 0).sum(axis=1, dtype=np.int32)
    return entries


def contains(views: Views, values: Numbers) -> Flags:
    """Whether view i holds ``values[i]``: bool [n]."""
    held: Flags = (views == values[:, None]).any(axis=1)
    return held


def packed(values: Views, keep: Flags, width: int, fill: int = EMPTY) -> Views:
    """Kept entries of each row, in their order, in the first of `width` columns; those beyond are cut off."""
    places = np.cumsum(keep, axis=1, dtype=np.int32) - 1
    rows, columns = np.nonzero(keep & (places < width))
    result = np.full((len(values), width), fill, dtype=values.dtype)
    result[rows, places[rows, columns]] = values[rows, columns]
    return result


def first_of_each(views: Views) -> Flags:
    """Where entries of each row stand first that are somebody."""
    same = views[:, :, None] == views[:, None, :]
    repeated = (same & np.tri(views.shape[1], k=-1, dtype=np.bool_)).any(axis=2)
    first: Flags = (views >= 0) & ~repeated
    return first


def are_among(views: Views, others: Views) -> Flags:
    """Which entries of each row are in the same row of `others`."""
    among: Flags = ((views[:, :, None] == others[:, None, :]) & (views >= 0)[:, :, None]).any(axis=2)
    return among


def without(views: Views, values: Numbers) -> Views:
    """Views with ``values[i]`` taken out of view i; -1 takes nothing out."""
    hit = views == values[:, None]
    hit &= views >= 0
    affected = np.flatnonzero(hit.any(axis=1))
    if not len(affected):
        return views
    result = views.copy()
    some = views[affected]
    result[affected] = packed(some, (some >= 0) & ~hit[affected], views.shape[1])
    return result


def pushed(views: Views, values: Numbers, where: Flags) -> Views:
    """Views with ``values[i]`` behind the last entry of view i, for the rows `where` there must be room."""
    result = views.copy()
    rows = np.flatnonzero(where)
    result[rows, counts(views[rows])] = values[rows]
    return result


def picked(views: Views, allowed: Flags, draws: NDArray[np.float64]) -> Numbers:
    """One allowed entry of each view, chosen by its uniform draw; -1 where none is allowed."""
    totals = allowed.sum(axis=1)
    nth = np.minimum((draws * totals).astype(np.int64), totals - 1)
    places = np.cumsum(allowed, axis=1) - 1
    column = np.argmax(allowed & (places == nth[:, None]), axis=1)
    return np.where(totals > 0, views[np.arange(len(views)), column], EMPTY).astype(np.int32)


def draw_order(allowed: Flags, draws: NDArray[np.float64], width: int) -> NDArray[np.int64]:
    """Columns of each row by ascending draw, those not allowed last: int64 [n, width]."""
    keys = np.where(allowed, draws, np.inf)
    return np.argsort(keys, axis=1, kind="stable")[:, :width]
