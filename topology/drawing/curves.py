"""Plots that compare topologies: consensus curves, and degree against gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from topology.drawing.style import MUTED, PALETTE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DegreeAndGap", "plot_consensus_curves", "plot_degree_against_gap"]

_FLOOR = 1e-16
# What rounding leaves of exact consensus.
_EXACT = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class DegreeAndGap:
    """One point of the plot of degree against gap.

    Attributes
    ----------
    name : str
    degree : int
        The most models a node sends in a round.
    gap : float
        Share of disagreement removed, per round, in the worst case: p / τ of `topology.spectrum.mixing_rate`;
        of a fixed matrix W it is 1 − ‖W − J‖₂², about twice the spectral gap where that is small.
    changes : bool
        Whether it changes from round to round.
    """

    name: str
    degree: int
    gap: float
    changes: bool


def plot_consensus_curves(
    curves: Mapping[str, NDArray[np.float64]], *, floor: float = 1e-12, title: str | None = None
) -> Figure:
    """Plot consensus curves on a logarithmic scale.

    Parameters
    ----------
    curves : mapping of str to float64 [rounds + 1]
        From `topology.spectrum.consensus_curve`. One that reaches exact consensus ends in a dot at the round
        in which it does.
    floor : float
        Lower end of the scale.
    title : str, optional
    """
    with styled():
        figure = new_figure(6.8, 4.0)
        axes = figure.subplots()
        for index, (name, curve) in enumerate(curves.items()):
            below = np.flatnonzero(curve < floor)
            end = int(below[0]) if len(below) else len(curve) - 1
            exact = len(below) > 0 and curve[end] < _EXACT
            shown = np.maximum(curve[: end + 1], floor if exact else _FLOOR)
            colour = PALETTE[index % len(PALETTE)]
            dashes = "-" if index < len(PALETTE) else "--"
            axes.plot(shown, dashes, color=colour, linewidth=1.7, label=name)
            if exact:
                axes.plot(end, floor, "o", color=colour, markersize=5, clip_on=False, zorder=5)
        highest = max((float(curve.max()) for curve in curves.values() if len(curve)), default=1.0)
        axes.set(yscale="log", ylim=(floor, 2 * max(highest, _FLOOR)), xlim=(0, None))
        axes.set(xlabel="round", ylabel="consensus distance")
        axes.grid(visible=True, axis="y", color=MUTED, alpha=0.2, linewidth=0.6)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        if title:
            axes.set_title(title, loc="left")
    return figure


def plot_degree_against_gap(points: Sequence[DegreeAndGap]) -> Figure:
    """Plot the disagreement removed per round against the models a node sends for it."""
    with styled():
        figure = new_figure(6.8, 4.4)
        axes = figure.subplots()
        for index, point in enumerate(points):
            axes.plot(
                point.degree,
                point.gap,
                "D" if point.changes else "o",
                color=PALETTE[index % len(PALETTE)],
                markersize=7,
                label=point.name,
            )
        axes.set(xscale="log", yscale="log")
        degrees = sorted({point.degree for point in points})
        axes.set_xticks(degrees, [str(degree) for degree in degrees])
        lowest = min((point.gap for point in points), default=1.0)
        marks = [m * 10.0**e for e in range(-9, 1) for m in (1, 2, 5) if lowest / 2 < m * 10.0**e <= 1]
        axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
        axes.minorticks_off()
        axes.set(
            xlabel="models a node sends in a round, at most",
            ylabel="share of disagreement removed, per round (p/τ)",
        )
        axes.grid(visible=True, color=MUTED, alpha=0.2, linewidth=0.6)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    return figure
