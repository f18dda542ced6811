"""The figure of a demo: accuracy and consensus distance over time."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gossipfl.demo.baselines import Baselines
from gossipfl.demo.watching import Observation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curves", "saved"]

logger = logging.getLogger(__name__)


def saved(path: Path, plot: Callable[[], Figure]) -> bool:
    """Plot into a PNG file.

    Returns
    -------
    bool
        False if matplotlib is not installed, or the file cannot be written.
    """
    try:
        plot().savefig(path, dpi=120)
    except ModuleNotFoundError:
        return False
    except OSError as error:
        logger.warning("the curves cannot be drawn: %s (%s)", error.strerror, path)
        return False
    return True


def curves(
    history: Sequence[Observation],
    baselines: Baselines,
    *,
    metric: str,
    killed_at: float | None = None,
    restarted_at: float | None = None,
) -> Figure:
    """Plot accuracy and consensus distance over time, and mark kills and restarts of peers.

    Parameters
    ----------
    history : sequence of Observation
    baselines : Baselines
    metric : str
    killed_at, restarted_at : float, optional
        In seconds, as those of the observations.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    seconds = [look.seconds for look in history]
    for peer in range(len(history[0].statuses)):
        values = [look.value(peer, metric) for look in history]
        own = [np.nan if value is None else 100 * value for value in values]  # a gap while it is away
        upper.plot(seconds, own, color="tab:blue", alpha=0.35, linewidth=1)
    means = [(look.seconds, 100 * statistics.fmean(v)) for look in history if (v := look.values(metric))]
    upper.plot(*np.transpose(means), color="tab:blue", linewidth=2.5, label="gossip: each peer, and mean")
    alone = 100 * statistics.fmean(baselines.alone)
    upper.axhline(
        100 * statistics.fmean(baselines.pooled), color="tab:green", linestyle="--", label="all data pooled"
    )
    upper.axhline(alone, color="tab:red", linestyle="--", label="alone, mean")
    upper.set(ylabel=f"{metric} (%)", ylim=(0, 101 if max(baselines.pooled) > 0.5 else None))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    distances = [(look.seconds, look.consensus_distance) for look in history if look.consensus_distance]
    if distances:
        lower.semilogy(*np.transpose(distances), color="tab:purple")
    lower.set(xlabel="seconds since the start", ylabel="consensus distance", xlim=(0, None))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    for moment, what, side in ((killed_at, "peers killed", "right"), (restarted_at, "one restarted", "left")):
        if moment is None:
            continue
        for axes in (upper, lower):
            axes.axvline(moment, color="black", linestyle=":", linewidth=1)
        aside = (4 if side == "left" else -4, 0)
        upper.annotate(what, (moment, 4), xytext=aside, textcoords="offset points", fontsize=9, ha=side)
    return figure
