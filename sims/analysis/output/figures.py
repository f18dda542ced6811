"""Figures for papers: SVG and PDF, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.measuring import Measured
from sims.analysis.distances import spectral_order
from sims.analysis.output.chart import Chart, Series
from sims.analysis.output.charts import charts_of
from sims.analysis.runs.network import Network, edges_of, positions_of
from topology.drawing.style import EDGE, MUTED, PALETTE, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_chart", "draw_disagreement", "draw_layers", "draw_network", "write_figures"]

_DASHES = {
    "solid": "-",
    "dashed": (0, (5, 2)),
    "dotted": (0, (1, 1.5)),
    "dash-dotted": (0, (5, 1.5, 1, 1.5)),
    "long-dashed": (0, (10, 2.5)),
}
_DRAWN_NODES = 1500


def write_figures(
    analysis: Analysis, directory: Path, *, formats: Sequence[str] = ("svg", "pdf")
) -> list[Path]:
    """Write every figure there is something to show in.

    Parameters
    ----------
    analysis : Analysis
    directory : Path
        Made if it is not there.
    formats : sequence of {'svg', 'pdf', 'png'}

    Returns
    -------
    list of Path
    """
    directory.mkdir(parents=True, exist_ok=True)
    figures = {chart.key: draw_chart(chart) for chart in charts_of(analysis)}
    for index, group in enumerate(analysis.groups):
        first = group.runs[0]
        if first.distances is not None and len(first.distances) > 1:
            figures[f"disagreement-{index}"] = draw_disagreement(first)
        if len(first.layers) > 1:
            figures[f"tensors-{index}"] = draw_layers(first)
        if first.network is not None and first.network.n <= _DRAWN_NODES:
            figures[f"network-{index}"] = draw_network(first.network, first)
    written = []
    for key, figure in figures.items():
        for suffix in formats:
            path = directory / f"{_file_name(key)}.{suffix}"
            save(figure, path)
            written.append(path)
    return written


def _file_name(key: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in key)


def draw_chart(chart: Chart) -> Figure:
    """Draw lines with their bands; theory dashed."""
    with styled():
        figure = new_figure(5.6, 3.5)
        axes = figure.subplots()
        for series in chart.series:
            _draw_series(axes, series)
        if chart.log_y:
            axes.set_yscale("log")
        axes.set_xlabel(chart.x_title)
        axes.set_ylabel(chart.y_title)
        axes.margins(x=0)
        axes.grid(visible=True, color=MUTED, alpha=0.2, linewidth=0.6)
        axes.set_title(chart.title, loc="left")
        if len(chart.series) > 1:
            many = len(chart.series) > 4
            axes.legend(
                fontsize=7,
                **({"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncol": 1} if many else {}),
            )
    return figure


def _draw_series(axes: Axes, series: Series) -> None:
    colour = PALETTE[series.colour % len(PALETTE)]
    measured = series.stroke == "solid"
    axes.plot(
        series.x,
        series.y,
        linestyle=_DASHES[series.stroke],
        color=colour,
        linewidth=1.7 if measured else 1.1,
        alpha=1.0 if measured else 0.85,
        label=series.name,
    )
    if series.low is not None and series.high is not None:
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.16, linewidth=0)


def draw_disagreement(measured: Measured) -> Figure:
    """Draw how far the last models are from one another: in order of nodes, and of likeness."""
    distances = measured.distances
    assert distances is not None  # noqa: S101 - the caller's
    order = spectral_order(distances)
    with styled():
        figure = new_figure(6.6, 3.2)
        for axes, shown, title in zip(
            figure.subplots(1, 2),
            (distances, distances[np.ix_(order, order)]),
            ("nodes in order", "nodes in spectral order"),
            strict=True,
        ):
            image = axes.imshow(shown, cmap="viridis", interpolation="nearest", rasterized=True)
            axes.set_title(title, loc="left")
            axes.set_xlabel("node")
        figure.colorbar(image, ax=figure.axes, label="‖xᵢ − xⱼ‖", shrink=0.85)
    return figure


def draw_layers(measured: Measured) -> Figure:
    """Draw how much each tensor of the last models contributes to the consensus distance."""
    names = list(measured.layers)
    with styled():
        figure = new_figure(5.2, 0.7 + 0.28 * len(names))
        axes = figure.subplots()
        axes.barh(names, [measured.layers[name] for name in names], color=PALETTE[0], height=0.65)
        axes.invert_yaxis()
        axes.set_xlabel("consensus distance at the end")
        axes.grid(visible=True, axis="x", color=MUTED, alpha=0.2, linewidth=0.6)
    return figure


def draw_network(network: Network, measured: Measured | None = None) -> Figure:
    """Draw who talks to whom, each node coloured by its result, where that is known."""
    from matplotlib.collections import LineCollection

    positions, edges = positions_of(network), edges_of(network)
    values = None if measured is None or len(measured.nodes) != network.n else measured.nodes
    with styled():
        figure = new_figure(4.4, 3.8)
        axes = figure.subplots()
        lines = positions[edges]
        thin = float(np.clip(14 / np.sqrt(max(len(edges), 1)), 0.15, 1.2))
        axes.add_collection(LineCollection(list(lines), colors=EDGE, linewidths=thin, alpha=0.7, zorder=1))
        dots = axes.scatter(
            positions[:, 0],
            positions[:, 1],
            s=float(np.clip(1800 / network.n, 6, 90)),
            c=PALETTE[0] if values is None else values,
            cmap=None if values is None else "viridis",
            edgecolors="white",
            linewidths=0.5,
            zorder=3,
        )
        if values is not None and measured is not None:
            figure.colorbar(dots, ax=axes, label=f"{measured.metric} at the end", shrink=0.8)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(network.name, loc="left")
    return figure
