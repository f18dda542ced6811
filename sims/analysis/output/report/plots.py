"""Charts, maps and networks as plotly figures, plain enough for light and dark pages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects as go

from sims.analysis.comparison.measuring import Measured
from sims.analysis.distances import spectral_order
from sims.analysis.output.chart import Chart, Series
from sims.analysis.runs.network import Network, edges_of, positions_of
from topology.drawing.style import PALETTE

__all__ = ["plot_chart", "plot_disagreement", "plot_layers", "plot_network"]

_DASHES = {
    "solid": "solid",
    "dashed": "dash",
    "dotted": "dot",
    "dash-dotted": "dashdot",
    "long-dashed": "longdash",
}
_MOST_EDGES = 20_000
_LETTERS_PER_LINE = 36  # letters of a name beyond which it fills a line of the legend


def plot_chart(chart: Chart) -> go.Figure:
    """Lines with their bands; theory dashed."""
    figure = go.Figure()
    for number, series in enumerate(chart.series):
        for trace in _traces(series, f"s{number}"):
            figure.add_trace(trace)
    _lay_out(figure, x_title=chart.x_title, y_title=chart.y_title)
    rows = sum(len(series.name) > _LETTERS_PER_LINE for series in chart.series) + len(chart.series)
    figure.update_layout(
        legend={"orientation": "h", "y": -0.27, "yanchor": "top", "x": 0, "font": {"size": 11}},
        height=350 + 12 * rows,
    )
    if chart.log_y:
        figure.update_yaxes(type="log", dtick=_decades(chart))
    return figure


def _decades(chart: Chart) -> int:
    """Powers of ten between two marks, so that there are not many of them."""
    values = np.concatenate([series.y[series.y > 0] for series in chart.series])
    return max(1, int(np.ceil(np.log10(values.max() / values.min()) / 8))) if len(values) else 1


def _traces(series: Series, group: str) -> list[go.Scatter]:
    colour = PALETTE[series.colour % len(PALETTE)]
    traces = []
    if series.low is not None and series.high is not None:
        known = np.isfinite(series.low) & np.isfinite(series.high)
        around = np.concatenate([series.x[known], series.x[known][::-1]])
        ends = np.concatenate([series.high[known], series.low[known][::-1]])
        traces.append(
            go.Scatter(
                x=_short(around),
                y=_short(ends),
                fill="toself",
                fillcolor=_transparent(colour, 0.16),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=group,
            )
        )
    traces.append(
        go.Scatter(
            x=_short(series.x),
            y=_short(series.y),
            mode="lines",
            name=series.name,
            legendgroup=group,
            line={
                "color": colour,
                "width": 2.2 if series.stroke == "solid" else 1.4,
                "dash": _DASHES[series.stroke],
            },
            hovertemplate=f"%{{y:.5g}} at %{{x:.5g}}<br>{series.note}<extra>{series.name}</extra>",
        )
    )
    return traces


def plot_disagreement(measured: Measured) -> go.Figure:
    """Distances between the last models: in order of nodes, then of similarity."""
    distances = measured.distances
    assert distances is not None  # noqa: S101 - the caller's
    order = spectral_order(distances)
    figure = go.Figure()
    for index, arranged in enumerate((np.arange(len(order)), order)):
        names = [measured.distance_labels[node] for node in arranged]
        figure.add_trace(
            go.Heatmap(
                z=_short(distances[np.ix_(arranged, arranged)]),
                text=[[f"{a} – {b}" for b in names] for a in names] if len(names) <= 64 else None,
                hovertemplate="%{text}<br>%{z:.4g}<extra></extra>"
                if len(names) <= 64
                else "%{z:.4g}<extra></extra>",
                colorscale="Viridis",
                colorbar={"title": {"text": "‖xᵢ − xⱼ‖"}, "thickness": 12},
                visible=index == 0,
            )
        )
    _lay_out(figure, x_title="node", y_title="node", height=420)
    figure.update_yaxes(autorange="reversed", scaleanchor="x", constrain="domain")
    figure.update_xaxes(constrain="domain")
    return figure


def plot_layers(measured: Measured) -> go.Figure:
    """The share of each tensor of the last models in the consensus distance."""
    names = list(measured.layers)
    figure = go.Figure(
        go.Bar(
            x=[float(f"{measured.layers[name]:.5g}") for name in names],
            y=names,
            orientation="h",
            marker={"color": PALETTE[0]},
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        )
    )
    _lay_out(figure, x_title="consensus distance at the end", y_title="", height=120 + 24 * len(names))
    figure.update_yaxes(autorange="reversed")
    return figure


def plot_network(network: Network, measured: Measured) -> go.Figure:
    """The network, each node coloured by its result, where that is known."""
    positions, edges = positions_of(network), edges_of(network)
    caption = ""
    if len(edges) > _MOST_EDGES:
        edges = edges[np.linspace(0, len(edges) - 1, _MOST_EDGES).astype(np.int64)]
        caption = f"{_MOST_EDGES:,} of its links are drawn"
    gaps = np.full(len(edges), np.nan)
    lines = [
        np.stack([positions[edges[:, 0], axis], positions[edges[:, 1], axis], gaps], axis=1).ravel()
        for axis in (0, 1)
    ]
    known = len(measured.nodes) == network.n
    labels = measured.run.labels if len(measured.run.labels) == network.n else range(network.n)
    figure = go.Figure(
        [
            go.Scatter(
                x=_short(lines[0]),
                y=_short(lines[1]),
                mode="lines",
                line={
                    "color": "rgba(124,147,168,0.55)",
                    "width": float(np.clip(12 / len(edges) ** 0.5, 0.3, 1.5)),
                }
                if len(edges)
                else {},
                hoverinfo="skip",
            ),
            go.Scatter(
                x=_short(positions[:, 0]),
                y=_short(positions[:, 1]),
                mode="markers",
                marker={
                    "size": float(np.clip(120 / network.n**0.5, 4, 18)),
                    "line": {"width": 1, "color": "white"},
                    **(
                        {
                            "color": _short(measured.nodes),
                            "colorscale": "Viridis",
                            "colorbar": {"title": {"text": measured.metric}, "thickness": 12},
                        }
                        if known
                        else {"color": PALETTE[0]}
                    ),
                },
                text=[
                    f"node {label}" + (f"<br>{measured.metric} {measured.nodes[i]:.4f}" if known else "")
                    for i, label in enumerate(labels)
                ],
                hovertemplate="%{text}<extra></extra>",
            ),
        ]
    )
    _lay_out(figure, x_title=caption, y_title="", height=420)
    figure.update_layout(showlegend=False)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(showgrid=False, zeroline=False, showticklabels=False)
    figure.update_yaxes(scaleanchor="x")
    return figure


def _lay_out(figure: go.Figure, *, x_title: str, y_title: str, height: int = 380) -> None:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 16, "t": 24, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8a97a3", "activecolor": "#1f6f8b"},
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_xaxes(title={"text": x_title}, zeroline=False, automargin=True, exponentformat="power")
    figure.update_yaxes(title={"text": y_title}, zeroline=False, automargin=True, exponentformat="power")


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _short(values: NDArray[np.float64]) -> Any:  # noqa: ANN401 - nested lists of numbers
    """Six digits, and null for what is not a number: a page is read, not computed with."""
    if values.ndim > 1:
        return [_short(row) for row in values]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
