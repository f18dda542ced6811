"""The consensus distance below which disagreement costs nothing, and the step size that models feel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sims.analysis.measures.landscape import Landscape
from sims.analysis.runs.run import Run
from sims.analysis.theory.descent import step_sizes
from sims.analysis.theory.prediction import CONSENSUS, Figure, Line

__all__ = ["EffectiveRate", "critical_distance", "effective_rate", "predict_critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRate:
    """Step sizes at the end of a run.

    Parameters
    ----------
    step : float
        η(mean age).
    with_momentum : float
        η / (1 − momentum): the total effect of a gradient under heavy-ball momentum.
    relative : float
        The same over the mean squared norm of the trained parameters: the step size that matters to a
        scale-invariant model.
    """

    step: float
    with_momentum: float
    relative: float


def critical_distance(*, step: float, smoothness: float, noise: float, gradient: float, nodes: int) -> float:
    """Critical consensus distance Γ² = ησ²/(Ln) + ‖∇f(x̄)‖²/(8L²).

    As long as the consensus distance Ξ² stays below it, decentralised training converges as fast as centralised.

    Parameters
    ----------
    step : float
        η.
    smoothness, noise, gradient : float
        L, σ² and ‖∇f(x̄)‖².
    nodes : int

    References
    ----------
    Kong, Lin, Koloskova, Jaggi and Stich, "Consensus control for decentralized deep learning", ICML 2021.
    """
    return step * noise / (smoothness * nodes) + gradient / (8 * smoothness**2)


def predict_critical(run: Run, landscape: Landscape, nodes: int) -> tuple[list[Line], list[Figure]]:
    """The critical consensus distance at the final models, as a line and next to the measured distance."""
    if not landscape.smoothness > 0:
        return [], []
    value = critical_distance(
        step=float(step_sizes(run)[-1]),
        smoothness=landscape.smoothness,
        noise=landscape.noise,
        gradient=landscape.gradient,
        nodes=nodes,
    )
    source = (
        "Kong et al., ICML 2021: below it, as fast as centralised; "
        f"L = {landscape.smoothness:.3g}, σ² = {landscape.noise:.3g}, ‖∇f(x̄)‖² = {landscape.gradient:.3g} "
        "at the last models"
    )
    rounds = run.column("round")
    line = Line(
        name="critical consensus distance",
        quantity=CONSENSUS,
        kind="bound",
        source=source,
        rounds=rounds,
        values=np.full(len(rounds), value),
    )
    figure = Figure(
        name="consensus distance against the critical one",
        predicted=value,
        measured=landscape.distance,
        kind="bound",
        source=source,
        remark="disagreement costs no speed"
        if landscape.distance <= value
        else "disagreement may cost speed",
    )
    return [line], [figure]


def effective_rate(run: Run, trainable_size: int) -> EffectiveRate:
    """Step sizes at the end of a run.

    References
    ----------
    The relative one: van Laarhoven, "L2 regularization versus batch and weight normalization", 2017.
    """
    step = float(step_sizes(run)[-1])
    norm = float("nan")
    if run.rows is not None:
        norm = float((run.rows[:, :trainable_size].astype(np.float64) ** 2).sum(axis=1).mean())
    return EffectiveRate(
        step=step * (1 - run.training.momentum),
        with_momentum=step,
        relative=step / norm if norm > 0 else float("nan"),
    )
