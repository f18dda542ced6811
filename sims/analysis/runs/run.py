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

__all__ = ["Run", "Source", "metrics_of"]

Source = Literal["simulator", "peers"]


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
        False if it was interrupted or is still running; it is then analysed as far as it got.
    configuration : mapping of str to object
        The run's settings, as ``section.key``; without seeds and those that only concern measurement.
    task : str
        Name of the task.
    task_options : tuple of mapping
        Keyword arguments of the task's factory: one mapping for a simulation, one a peer otherwise.
    training : TrainingSettings
    learns : bool
        False if models were only averaged.
    curves : polars.DataFrame
        One row per evaluation: the columns of ``evaluations.parquet`` (docs/simulator.md), NaN where a source does
        not know them.
    nodes : polars.DataFrame, optional
        A row an evaluation and node: ``round``, ``node`` and the measurements.
    rows : ndarray, optional
        The last models, float32 or float64 ``[N, D]``.
    labels : tuple of str
        Names of the N nodes.
    scenario : Scenario, optional
        The scenario simulated; for peers, the one estimated from their records, if these suffice.
    edges : ndarray, optional
        Pairs of nodes that could talk to each other, ``[E, 2]``, where the scenario does not say.
    topology : str
        The topology of peers that learn in rounds, as an expression of `topology.catalogue`; else empty.
    homes : tuple of Path
        Homes of the peers; empty for a simulation.
    numbers : tuple of int
        Numbers of the peers, by which they draw batches; empty for a simulation.
    variant : str
        What a sweep called the run's variant; else empty.
    keyboard : str
        Id of a peer whose samples are what its owner typed, which nobody else reads; else empty.
    notes : tuple of str
        Remarks for the reader of this run.
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
    numbers: tuple[int, ...] = ()
    variant: str = ""
    keyboard: str = ""
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the measurements of every node, the loss last."""
        return metrics_of(self.curves)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of the curves, float64 ``[evaluations]``; all NaN where the run does not have it."""
        if name not in self.curves.columns:
            return np.full(len(self.curves), np.nan)
        return self.curves[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def last(self, name: str) -> float:
        """The last value in a column that is not NaN; NaN if there is none."""
        known = self.column(name)
        known = known[~np.isnan(known)]
        return float(known[-1]) if len(known) else float("nan")

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return str(self.configuration.get("algorithm.name", ""))

    @property
    def theory(self) -> str | None:
        """The theory that the algorithm declares to follow; None if the algorithm cannot be found."""
        try:
            return find_algorithm(self.algorithm).theory
        except GossipflError:
            return None

    @property
    def layers(self) -> tuple[str, ...]:
        """Tensors of the model whose consensus distance was recorded over time."""
        return tuple(name.removeprefix(LAYER) for name in self.curves.columns if name.startswith(LAYER))


def metrics_of(curves: pl.DataFrame) -> tuple[str, ...]:
    """Names of the measurements of every node, the loss last: every ``X`` with a column ``X_q05``."""
    found = [name.removesuffix("_q05") for name in curves.columns if name.endswith("_q05")]
    return tuple(sorted(found, key=lambda name: name == "loss"))
