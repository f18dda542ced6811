"""All predictions that apply to a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sims.analysis.measures.landscape import Landscape, measure_landscape
from sims.analysis.runs.network import Network
from sims.analysis.runs.problem import Problem
from sims.analysis.runs.run import Run
from sims.analysis.theory.averaging import predict_averaging, spectral_figures
from sims.analysis.theory.critical import predict_critical
from sims.analysis.theory.descent import predict_descent
from sims.analysis.theory.fitting import LinearRate, fit_linear_rate
from sims.analysis.theory.prediction import CONSENSUS, Figure, Line

__all__ = ["Theory", "theory_of"]

# Squares of rounding errors of float32 and float64 numbers of about the size of models.
_RESOLUTION = {"float32": 1e-13, "float64": 1e-29}


@dataclass(frozen=True, kw_only=True)
class Theory:
    """All that theory predicts of a run.

    Parameters
    ----------
    lines : tuple of Line
    figures : tuple of Figure
    rate : LinearRate, optional
        Fitted to the consensus distance of a run that only averages.
    landscape : Landscape, optional
        Of a run that learns.
    """

    lines: tuple[Line, ...] = ()
    figures: tuple[Figure, ...] = ()
    rate: LinearRate | None = None
    landscape: Landscape | None = None


def theory_of(run: Run, network: Network | None, problem: Problem | None) -> Theory:
    """Gather the predictions of theory for a run.

    Parameters
    ----------
    run : Run
    network : Network, optional
        Without it, only predictions that need no mixing matrix.
    problem : Problem, optional
        Without it, only predictions that need no gradients.
    """
    if not run.learns:
        fitted = _fitted(run)
        if network is None:
            return Theory(rate=fitted)
        lines, figures = predict_averaging(run, network, fitted)
        return Theory(lines=tuple(lines), figures=tuple(figures), rate=fitted)
    lines, figures = [], []
    landscape = None
    of_sgd = run.training.optimiser == "sgd"  # the predictions below hold for no other optimiser
    if problem is not None and run.rows is not None and len(run.rows) > 1:
        landscape = measure_landscape(problem, run.rows)
        lines, figures = predict_critical(run, landscape, len(run.rows)) if of_sgd else ([], [])
    if network is not None and network.sequence is not None:
        figures += spectral_figures(network.sequence, None)
        if of_sgd and run.theory == "diffusion" and landscape is not None and problem is not None:
            order = str(run.configuration.get("algorithm.order", "adapt-then-combine"))
            more, others = predict_descent(run, network.sequence, problem, landscape, order)
            lines, figures = [*lines, *more], [*figures, *others]
    return Theory(lines=tuple(lines), figures=tuple(figures), landscape=landscape)


def _fitted(run: Run) -> LinearRate | None:
    distances = run.column(CONSENSUS)
    precision = "float32" if run.scenario is None else run.scenario.precision
    largest = float(np.nanmax(distances, initial=0.0))
    resolution = _RESOLUTION[precision] * max(largest, 1e-300)
    return fit_linear_rate(run.column("round"), distances, resolution=resolution)
