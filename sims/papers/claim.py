"""Claims of papers, as figures that a sweep measures again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sims.running import run
from sims.sweeping import Sweep, load_sweep, sweep
from sims.sweeping.points import points_of, scenario_at

__all__ = [
    "Claim",
    "Comparison",
    "Figure",
    "Finding",
    "Gate",
    "Quick",
    "at_round",
    "at_rounds",
    "reproduce",
    "rounds_below",
]

Curves = pl.DataFrame
Measure = Callable[[Curves], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a paper.

    Parameters
    ----------
    variant : str
        Label of the sweep's variant it belongs to.
    what : str
        Heading of its column.
    measure : callable
        From the evaluations of one run to the number.
    published : float, optional
        The paper's number; None where it gives a curve or an ordering only.
    tolerance : float
        Largest distance from it that counts as reproduced.
    last_round : float
        Round whose evaluation the measure needs.
    """

    variant: str
    what: str
    measure: Measure
    published: float | None
    tolerance: float = 0.0
    last_round: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A relation between figures that has to hold, such as an ordering.

    Parameters
    ----------
    statement : str
    holds : callable
        Given ``figures[variant, what]``; the mean over seeds of each.
    quick : bool
        Whether the figures of the quick version suffice for it.
    """

    statement: str
    holds: Callable[[Mapping[tuple[str, str], float]], bool]
    quick: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The reductions of a claim's quick version.

    Parameters
    ----------
    rounds : float
        Length of its runs.
    seeds : tuple of int
    variants : tuple of str
        Those that are run; all if empty.
    slack : float
        Factor by which tolerances are wider, with fewer seeds.
    """

    rounds: float
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = ()
    slack: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A published result, and the sweep that measures it again.

    Parameters
    ----------
    name : str
        Of the sweep's file in ``sims/scenarios/papers``.
    title, paper : str
    remark : str
        How our set-up differs from the paper's, and what to look for.
    figures : tuple of Figure
    gates : tuple of Gate
    quick : Quick
    """

    name: str
    title: str
    paper: str
    remark: str
    figures: tuple[Figure, ...]
    gates: tuple[Gate, ...]
    quick: Quick

    def sweep(self, *, quick: bool = False) -> Sweep:
        """Read the sweep, or its quick version."""
        full = load_sweep(Path(__file__).parent.parent / "scenarios" / "papers" / f"{self.name}.toml")
        if not quick:
            return full
        chosen = tuple(
            v for v in full.variant if not self.quick.variants or v["label"] in self.quick.variants
        )
        values: dict[str, Any] = {**full.set, "stop.rounds": self.quick.rounds}
        return full.model_copy(update={"seeds": self.quick.seeds, "variant": chosen, "set": values})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure and its measurement.

    Parameters
    ----------
    figure : Figure
    measured : float
        Mean over seeds.
    spread : float
        Largest minus smallest over seeds.
    reproduced : bool, optional
        Whether it lies within the tolerance; None without a published number.
    """

    figure: Figure
    measured: float
    spread: float
    reproduced: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of reproducing a claim.

    Parameters
    ----------
    claim : Claim
    comparisons : tuple of Comparison
    gates : tuple of (str, bool)
        Statements, and whether they hold.
    seeds : tuple of int
    seconds : float
        Wall time.
    """

    claim: Claim
    comparisons: tuple[Comparison, ...]
    gates: tuple[tuple[str, bool], ...]
    seeds: tuple[int, ...]
    seconds: float

    @property
    def reproduced(self) -> bool:
        """Whether every figure and every statement was met."""
        met = all(comparison.reproduced is not False for comparison in self.comparisons)
        return met and all(holds for _, holds in self.gates)


def at_round(column: str, number: float, *, scale: float = 1.0, complement: bool = False) -> Measure:
    """Make a measure: a column's value at a round, times ``scale``; of ``1 − value`` with ``complement``."""

    def measure(curves: Curves) -> float:
        value = float(curves.filter((pl.col("round") - number).abs() < 1e-9)[column].item())
        return scale * (1 - value if complement else value)

    return measure


def at_rounds(
    column: str,
    published: Mapping[str, Sequence[float | None]],
    rounds: Sequence[int],
    *,
    what: str = "round {}",
    tolerance: float = 0.0,
    share: float = 0.0,
    scale: float = 1.0,
    complement: bool = False,
) -> tuple[Figure, ...]:
    """Make the figures of a table: a row for each variant, and a column for each round.

    Parameters
    ----------
    column : str
    published : mapping of str to sequence of float or None
        The paper's numbers at these rounds, by variant.
    rounds : sequence of int
    what : str
        Heading of a column, with ``{}`` in place of the round.
    tolerance, share : float
        Tolerance of a number, or its share of the number where that is more.
    scale, complement
        As for `at_round`.
    """
    return tuple(
        Figure(
            variant=variant,
            what=what.format(number),
            measure=at_round(column, number, scale=scale, complement=complement),
            published=value,
            tolerance=max(tolerance, share * (value or 0.0)),
            last_round=number,
        )
        for variant, values in published.items()
        for number, value in zip(rounds, values, strict=True)
    )


def rounds_below(column: str, fraction: float) -> Measure:
    """Make a measure: the first round at which a column is below a fraction of its first value; NaN if never."""

    def measure(curves: Curves) -> float:
        ordered = curves.sort("round")
        below = ordered.filter(pl.col(column) < fraction * ordered[column][0])
        return float(below["round"][0]) if len(below) else float("nan")

    return measure


def reproduce(
    claim: Claim,
    *,
    quick: bool = False,
    out: Path | None = None,
    jobs: int | None = None,
    resume: bool = False,
) -> Finding:
    """Measure a claim's figures.

    Parameters
    ----------
    claim : Claim
    quick : bool
        A version that takes seconds, in this process: fewer seeds and rounds, and the figures that those suffice
        for.
    out : path, optional
        Directory for the records of the sweep.
    jobs : int, optional
        Runs side by side, in processes of their own.
    resume : bool
        Keep runs that finished in ``out``.

    Raises
    ------
    InvalidSweep, SimulationError
        As `sims.sweep`.
    """
    began, settings = time.perf_counter(), claim.sweep(quick=quick)
    if quick:
        evaluations = _in_this_process(settings)
    else:
        evaluations = sweep(settings, out=out, jobs=jobs, resume=resume).evaluations
    comparisons = tuple(
        _compared(figure, evaluations, slack=claim.quick.slack if quick else 1.0)
        for figure in claim.figures
        if not quick or _within(figure, claim.quick)
    )
    means = {(c.figure.variant, c.figure.what): c.measured for c in comparisons}
    gates = tuple((gate.statement, gate.holds(means)) for gate in claim.gates if gate.quick or not quick)
    return Finding(
        claim=claim,
        comparisons=comparisons,
        gates=gates,
        seeds=settings.seeds,
        seconds=time.perf_counter() - began,
    )


def _in_this_process(settings: Sweep) -> Curves:
    tables = []
    for point in points_of(settings):
        for seed in settings.seeds:
            result = run(scenario_at(settings, point, seed=seed), compile_when="never")
            named = [pl.lit(point.columns["variant"]).alias("variant"), pl.lit(seed).alias("seed")]
            tables.append(result.evaluations.select(*named, pl.all()))
    return pl.concat(tables, how="diagonal_relaxed")


def _within(figure: Figure, quick: Quick) -> bool:
    return figure.last_round <= quick.rounds and (not quick.variants or figure.variant in quick.variants)


def _compared(figure: Figure, evaluations: Curves, *, slack: float) -> Comparison:
    of_variant = evaluations.filter(pl.col("variant") == figure.variant)
    values = [figure.measure(run) for run in of_variant.partition_by("seed")]
    mean = sum(values) / len(values) if values else float("nan")
    met = None
    if figure.published is not None:
        met = abs(mean - figure.published) <= slack * figure.tolerance
    return Comparison(
        figure=figure,
        measured=mean,
        spread=max(values) - min(values) if values else float("nan"),
        reproduced=met,
    )
