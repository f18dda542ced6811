"""Pictures of nodes and links, round by round where they change."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topology.catalogue import NamedTopology
from topology.drawing.layouts import Positions, layout, wrapped_links
from topology.drawing.style import ACCENT, EDGE, INK, MUTED, NODE, new_figure, styled
from topology.errors import InvalidParameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from scipy.sparse import csr_array

__all__ = ["draw_network", "draw_round", "links_of"]

_DRAWN_NODES = 1_500
_ROUNDS_SHOWN = 6
_ARROWS = 300


def draw_network(named: NamedTopology, *, rounds: list[int] | None = None) -> Figure:
    """Draw a topology: a graph once, a sequence as a panel for each of its first rounds.

    Beyond 1,500 nodes the pattern of the mixing matrix is drawn instead, where single links cannot be told
    apart.

    Parameters
    ----------
    named : NamedTopology
    rounds : list of int, optional
        The rounds to show; by default one of a graph, and up to six of a sequence.

    Raises
    ------
    InvalidParameter
        If `rounds` is empty or has a negative one.
    """
    sequence = named.sequence
    if rounds is None:
        shown = min(sequence.period or 4, _ROUNDS_SHOWN)
        rounds = [0] if named.graph is not None else list(range(shown))
    if not rounds or min(rounds) < 0:
        raise InvalidParameter("no such rounds", expected="at least one round ≥ 0", got=rounds)
    columns = 2 if len(rounds) == 4 else min(len(rounds), 3)
    lines = ceil(len(rounds) / columns)
    side = 3.4 if len(rounds) == 1 else 2.2
    with styled():
        figure = new_figure(side * columns, side * lines + (0.25 if len(rounds) > 1 else 0))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid[len(rounds) :]:
            axes.set_axis_off()
        positions = layout(named) if sequence.n <= _DRAWN_NODES else None
        for axes, t in zip(grid, rounds, strict=False):
            if positions is None:
                _draw_pattern(axes, sequence.matrix(t))
            else:
                draw_round(axes, named, t, positions)
            if len(rounds) > 1 or sequence.period != 1:
                axes.set_title(f"round {t + 1}", color=MUTED, fontsize=9)
    return figure


def draw_round(
    axes: Axes,
    named: NamedTopology,
    t: int,
    positions: Positions,
    *,
    values: NDArray[np.float64] | None = None,
    links: bool = True,
) -> None:
    """Draw round `t`: who sends to whom, and optionally the nodes coloured by `values` from −1 to 1."""
    from matplotlib.collections import LineCollection

    pairs, directed = links_of(named.sequence.matrix(t)) if links else ([], False)
    n = len(positions)
    around = wrapped_links(named) if links else set()
    straight = [(i, j) for i, j in pairs if (min(i, j), max(i, j)) not in around]
    thin = float(np.clip(14 / np.sqrt(max(len(pairs), 1)), 0.25, 1.5))
    if directed and len(straight) <= _ARROWS:
        _draw_arrows(axes, positions, straight, thin)
    else:
        # Links between nodes on a circle, bowed inwards, do not hide behind it.
        bow = 0.45 if named.graph is None or named.expression.family.name == "small-world" else 0.0
        lines = [_bowed(positions[i], positions[j], bow) for i, j in straight]
        axes.add_collection(LineCollection(lines, colors=EDGE, linewidths=thin, zorder=1))
    stubs = []
    for i, j in around:
        outward = positions[i] - positions[j]
        outward = outward / max(float(np.abs(outward).max()), 1e-12) * 0.16
        stubs += [(positions[i], positions[i] + outward), (positions[j], positions[j] - outward)]
    axes.add_collection(LineCollection(stubs, colors=EDGE, linewidths=thin, linestyles="dotted", zorder=1))
    size = float(np.clip(1800 / n, 5, 90))
    if values is None:
        colours: dict[str, Any] = {"color": NODE, "edgecolors": "white", "linewidths": 0.6}
    else:
        colours = {"c": values, "cmap": "RdBu_r", "vmin": -1, "vmax": 1, "edgecolors": INK, "linewidths": 0.5}
    axes.scatter(positions[:, 0], positions[:, 1], s=size, zorder=3, **colours)
    axes.set(xlim=(-1.22, 1.22), ylim=(-1.22, 1.22), aspect="equal")
    axes.set_axis_off()


def _bowed(start: Positions, end: Positions, bow: float) -> Positions:
    """Points of a link; `bow` of the way its middle moves to the centre of the picture."""
    if bow == 0:
        return np.stack([start, end])
    s = np.linspace(0, 1, 13)[:, None]
    handle = (start + end) / 2 * (1 - bow)
    return (1 - s) ** 2 * start + 2 * s * (1 - s) * handle + s**2 * end


def links_of(W: csr_array) -> tuple[list[tuple[int, int]], bool]:
    """Links of a mixing matrix as (from, to), and whether they have a direction; if not, each once, i < j."""
    entries = W.tocoo()
    kept = (entries.row != entries.col) & (entries.data != 0)
    sent = set(zip(entries.col[kept].tolist(), entries.row[kept].tolist(), strict=True))
    if all((j, i) in sent for i, j in sent):
        return sorted((i, j) for i, j in sent if i < j), False
    return sorted(sent), True


def _draw_arrows(axes: Axes, positions: Positions, pairs: list[tuple[int, int]], thin: float) -> None:
    for i, j in pairs:
        axes.annotate(
            "",
            xy=tuple(positions[j]),
            xytext=tuple(positions[i]),
            arrowprops={
                "arrowstyle": "-|>,head_length=0.32,head_width=0.13",
                "color": EDGE,
                "linewidth": thin,
                "shrinkA": 3,
                "shrinkB": 4,
                "connectionstyle": "arc3,rad=0.12",
            },
            zorder=1,
        )


def _draw_pattern(axes: Axes, W: csr_array) -> None:
    entries = W.tocoo()
    axes.plot(entries.col, entries.row, ",", color=ACCENT, alpha=0.6)
    axes.set(xlim=(0, W.shape[1]), ylim=(W.shape[0], 0), aspect="equal", xlabel="sends", ylabel="receives")
