"""Charts as values, drawn the same way in figures for papers and in the report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chart", "Series", "Stroke", "positive"]

Floats = NDArray[np.float64]
Stroke = Literal["solid", "dashed", "dotted", "dash-dotted", "long-dashed"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One line.

    Parameters
    ----------
    name : str
    colour : int
        Number of its colour: that of its group.
    x, y : ndarray
        Shape ``[k]``.
    low, high : ndarray, optional
        Ends of a band around it.
    band : str
        What the band means.
    stroke : str
        Solid is measured; all others are theory or comparison.
    note : str
        Where it comes from.
    """

    name: str
    colour: int
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    band: str = ""
    stroke: Stroke = "solid"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture of lines.

    Parameters
    ----------
    key : str
        Name for files and anchors.
    title, x_title, y_title : str
    series : tuple of Series
    log_y : bool
    remark : str
        The meaning of dashes.
    """

    key: str
    title: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    log_y: bool = False
    remark: str = ""

    @property
    def caption(self) -> str:
        """The meaning of bands and dashes."""
        return "; ".join([*sorted({each.band for each in self.series} - {""}), *filter(None, [self.remark])])


def positive(series: Series) -> Series:
    """The series without values that a logarithmic scale cannot show."""
    shown = np.isfinite(series.y) & (series.y > 1e-300)
    low, high = series.low, series.high
    if low is not None and high is not None:
        smallest = float(series.y[shown].min()) if shown.any() else 1.0
        low, high = np.maximum(low[shown], smallest * 1e-2), high[shown]
    return replace(series, x=series.x[shown], y=series.y[shown], low=low, high=high)
