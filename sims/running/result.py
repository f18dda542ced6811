"""The progress of a run, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from torch import Tensor

from gossipfl.extras import require_extra
from gossipfl.layout import Layout
from sims.errors import NotRecorded
from sims.running.memory import MemoryEstimate
from sims.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Progress", "Recorded", "Result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run, told before the start, after every evaluation, and a few times a second between.

    Parameters
    ----------
    rounds, total : float
        Rounds done, and rounds in all.
    evaluation : dict, optional
        The last evaluation, as in the records.
    memory : MemoryEstimate
        What the run needs.
    stopping : bool
        Whether Ctrl-C was pressed: the run ends after the current window.

    Examples
    --------
    >>> from sims import run
    >>> seen, small = [], ["population.nodes=32", "stop.rounds=2", "evaluate.every=1"]
    >>> _ = run("digits", overrides=small, on_progress=seen.append)
    >>> seen[0].rounds, seen[-1].total
    (0.0, 2.0)
    """

    rounds: float
    total: float
    evaluation: dict[str, Any] | None
    memory: MemoryEstimate
    stopping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Recorded:
    """The records of a run: of one that has just ended, or read from its directory (`sims.load_run`).

    Parameters
    ----------
    scenario : Scenario
    evaluations : polars.DataFrame
        One row an evaluation.
    nodes : polars.DataFrame, optional
        One row an evaluation and node, with ``evaluate.per_node``.
    rows : Tensor, optional
        All models at the end, ``[N, D]``, if they are kept (``output.rows``) and the run has finished.
    finished : bool
        False if it was interrupted, or is still under way.
    summary : dict
        Versions, machine, seconds and memory; empty while a run is under way.

    Examples
    --------
    >>> import tempfile
    >>> from sims import load_run, run
    >>> with tempfile.TemporaryDirectory() as out:
    ...     _ = run("digits", overrides=["population.nodes=32", "stop.rounds=2", "evaluate.every=1"], out=out)
    ...     load_run(out).evaluations["round"].to_list()
    [0.0, 1.0, 2.0]
    """

    scenario: Scenario
    evaluations: pl.DataFrame
    nodes: pl.DataFrame | None
    rows: Tensor | None
    finished: bool
    summary: dict[str, Any]

    def __repr__(self) -> str:
        """A line: what ran, how far it came, and the latest measurements."""
        scenario, table = self.scenario, self.evaluations
        means = [name for name in table.columns if name.endswith("_mean")]
        latest = table[-1, ["round", *means]].row(0, named=True) if len(table) else {}
        shown = [f"{name} = {value:.4g}" for name, value in latest.items() if value is not None]
        state = "finished" if self.finished else "not finished"
        told = ", ".join([f"{scenario.population.nodes} nodes", scenario.algorithm.name, state, *shown])
        return f"{type(self).__name__}({scenario.name!r}: {told})"

    def to_pandas(self, *, nodes: bool = False) -> pd.DataFrame:
        """Return the evaluations as a frame of pandas.

        Parameters
        ----------
        nodes : bool
            A row an evaluation and node, instead of one an evaluation.

        Returns
        -------
        pandas.DataFrame
            Indexed by ``round`` (float), or by ``round`` and ``node``; its columns are those of `evaluations`
            (``seconds``, ``messages``, ``bytes``, ``accuracy_mean``, ``accuracy_q05``, …), or a column a metric.

        Raises
        ------
        NotRecorded
            If measurements of nodes were not kept.
        SettingError
            If pandas is not installed.

        Examples
        --------
        >>> from sims import run
        >>> small = ["population.nodes=32", "stop.rounds=2", "evaluate.every=1", "evaluate.per_node=true"]
        >>> result = run("digits", overrides=small)
        >>> result.to_pandas().index.to_list()
        [0.0, 1.0, 2.0]
        >>> result.to_pandas(nodes=True).loc[2.0].shape
        (32, 2)
        """
        require_extra("pandas", ["pandas"], what="a frame of pandas")
        import pandas as pd

        table, index = (self.nodes, ["round", "node"]) if nodes else (self.evaluations, ["round"])
        if table is None:
            raise NotRecorded(
                "measurements of every node were not kept", remedy="Run with evaluate.per_node = true."
            )
        return pd.DataFrame({name: table[name].to_numpy() for name in table.columns}).set_index(index)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Result(Recorded):
    """The outcome of a run.

    Parameters
    ----------
    scenario : Scenario
    evaluations : polars.DataFrame
        One row an evaluation.
    nodes : polars.DataFrame, optional
        One row an evaluation and node, with ``evaluate.per_node``.
    rows : Tensor
        All models at the end, ``[N, D]``; none, if they are kept in few bits and ``output.rows`` is false.
    layout : Layout
        What is where in a row: all that may differ between nodes. What is frozen in all alike is in every new
        module, so ``load_row(task.build_module(), layout, rows[i])`` makes one of a row.
    finished : bool
        False if it was interrupted.
    summary : dict
        Versions, machine, seconds and memory.

    Examples
    --------
    >>> from sims import run
    >>> result = run("digits", overrides=["population.nodes=32", "stop.rounds=2", "evaluate.every=1"])
    >>> result.finished, result.rows.shape[0]
    (True, 32)
    """

    rows: Tensor
    layout: Layout
