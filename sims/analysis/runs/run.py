"""A run as a value, of simulated nodes or of real peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gossipfl.algorithms import find_algorithm
from gossipfl.errors import GossipflError
from gossipfl.settings import TrainingSettings
from sims.metrics.network_metrics import LAYER
from sims.scenario import Scenario

__all__ = ["Run", "Source", "is_lower_better", "metrics_of"]

Source = Literal["simulator", "peers"]

_FALLING = ("loss", "error", "distance", "perplexity", "mse", "mae", "rmse")


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run and all that is known of it.

    Parameters
    ----------
    path : Path
        Its directory; of peers, the directory that holds their homes.
    source : {'simulator', 'peers'}
    name : str
    seed : int
        Of all that was drawn.
    finished : bool
        False if it was interrupted, or is still running: then it is analysed as far as it goes.
    configuration : mapping of str to object
        What the run was told, as ``section.key``; without seeds, and without what only says how it is measured.
    task : str
        Name of the task.
    task_options : tuple of mapping
        Keyword arguments of the task's factory: one mapping for a simulation, one a peer otherwise.
    training : TrainingSettings
    learns : bool
        False if models were only averaged.
    curves : polars.DataFrame
        A row an evaluation: the columns of ``evaluations.parquet`` (docs/simulator.md). What a source does not
        know is NaN.
    nodes : polars.DataFrame, optional
        A row an evaluation and node: ``round``, ``node`` and the measurements.
    rows : ndarray, optional
        The last models, float32 or float64 ``[N, D]``.
    labels : tuple of str
        What the N nodes are called.
    scenario : Scenario, optional
        What was simulated; of peers, the scenario estimated from their records, if they told enough.
    edges : ndarray, optional
        Pairs of nodes that could talk to each other, ``[E, 2]``, where the scenario does not say.
    topology : str
        Who mixes with whom, as an expression of `topology.catalogue`, for peers that learn in rounds; else empty.
    homes : tuple of Path
        Homes of the peers; empty for a simulation.
    notes : tuple of str
        What the reader must know of this run.
    """

    path: Path
    source: Source
    name: str
    seed: int
    finished: bool
    configuration: Mapping[str, Any]
    task: str
    task_options: tuple[Mapping[str, Any], ...]
    training: TrainingSettings
    learns: bool
    curves: pl.DataFrame
    nodes: pl.DataFrame | None
    rows: NDArray[np.floating[Any]] | None
    labels: tuple[str, ...]
    scenario: Scenario | None
    edges: NDArray[np.int64] | None = None
    topology: str = ""
    homes: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what was measured of every node, the loss last."""
        return metrics_of(self.curves)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of the curves, float64 ``[evaluations]``; all NaN where the run does not have it."""
        if name not in self.curves.columns:
            return np.full(len(self.curves), np.nan)
        return self.curves[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def last(self, name: str) -> float:
        """The last value of a column that is a number; NaN if there is none."""
        known = self.column(name)
        known = known[~np.isnan(known)]
        return float(known[-1]) if len(known) else float("nan")

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return str(self.configuration.get("algorithm.name", ""))

    @property
    def theory(self) -> str | None:
        """The theory that the algorithm declares to follow; None for one that is not at hand either."""
        try:
            return find_algorithm(self.algorithm).theory
        except GossipflError:
            return None

    @property
    def layers(self) -> tuple[str, ...]:
        """Tensors of the model whose consensus distance was recorded over time."""
        return tuple(name.removeprefix(LAYER) for name in self.curves.columns if name.startswith(LAYER))


def metrics_of(curves: pl.DataFrame) -> tuple[str, ...]:
    """Names of what was measured of every node, the loss last: every ``X`` with a column ``X_q05``."""
    found = [name.removesuffix("_q05") for name in curves.columns if name.endswith("_q05")]
    return tuple(sorted(found, key=lambda name: name == "loss"))


def is_lower_better(metric: str) -> bool:
    """Whether a metric is better the lower it is: losses, errors and distances."""
    return any(word in metric.lower() for word in _FALLING)
