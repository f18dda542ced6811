"""Theory of D-PSGD: fixed points, noise floors, and when they cease to matter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from gossipfl.training import learning_rates
from sims.analysis.measures.landscape import Landscape, local_gradients, quadratic_of
from sims.analysis.runs.problem import Problem
from sims.analysis.runs.run import Run
from sims.analysis.theory.prediction import CONSENSUS, Figure, Line
from sims.metrics.network_metrics import GRADIENT
from topology import spectrum
from topology.errors import TopologyError
from topology.sequences import MixingSequence
from topology.spectrum import MixingRate
from topology.spectrum.quadratics import Order

__all__ = ["predict_descent", "resting_distance", "spread_bound", "step_sizes"]

_KOLOSKOVA = "Koloskova et al., ICML 2020"
_EXACT_NODES = 512

Floats = NDArray[np.float64]


def step_sizes(run: Run) -> Floats:
    """Step size at each evaluation, η(mean age) / (1 − momentum): heavy-ball steps add up to that, ``[k]``."""
    ages = torch.from_numpy(np.nan_to_num(run.column("age_mean"))).round().long()
    rates = learning_rates(ages, run.training, dtype=torch.float64).numpy()
    steps: Floats = rates / (1 - run.training.momentum)
    return steps


def predict_descent(
    run: Run, sequence: MixingSequence, problem: Problem, landscape: Landscape, order: str
) -> tuple[list[Line], list[Figure]]:
    """Predict the consensus distance and the progress of a run of D-PSGD.

    Parameters
    ----------
    run : Run
        With its last models.
    sequence : MixingSequence
    problem : Problem
    landscape : Landscape
        At the last models.
    order : {'adapt-then-combine', 'combine-then-adapt', 'both-at-once'}
    """
    rate = spectrum.mixing_rate(sequence)
    lines = [*_rest(run, sequence, problem, landscape, order), _bound(run, rate, landscape, order)]
    koloskova, figures = _progress(run, sequence.n, rate, landscape)
    if rate.p > 0 and sequence.period == 1:
        gap = spectrum.spectral_gap(sequence.matrix(0))
        transient = spectrum.transient_iterations(
            sequence.n, min(1.0, max(gap, 1e-12)), heterogeneous=landscape.heterogeneity > landscape.noise
        )
        figures.append(
            Figure(
                name="transient iterations",
                predicted=transient.value,
                measured=None,
                kind=transient.kind,
                source=transient.source,
            )
        )
    return [*lines, *koloskova], figures


def spread_bound(
    rounds: Floats,
    step: Floats,
    rate: MixingRate,
    *,
    disagreement: float,
    noise: float,
    start: float,
    adapts_first: bool,
) -> Floats:
    """Bound the consensus distance of D-PSGD round by round.

    With ρ = 1 − p over τ rounds, φ² the mean squared distance of the nodes' gradients from their mean, and σ² the
    noise of one: ``Ξ ← ρ (√Ξ + τηφ)² + ρτη²σ²`` where nodes step before they mix (τ = 1), and
    ``Ξ ← (√(ρΞ) + τηφ)² + τη²σ²`` otherwise. It holds in expectation while φ and σ are no larger than given.

    Parameters
    ----------
    rounds : ndarray
        Where it is wanted, ascending from 0, ``[k]``.
    step : ndarray
        η at these rounds, ``[k]``.
    rate : MixingRate
    disagreement, noise : float
        φ² and σ².
    start : float
        Consensus distance at round 0.
    adapts_first : bool

    References
    ----------
    The triangle inequality applied to X ← W(X − ηG); the argument of the consensus-distance lemma of Koloskova,
    Loizou, Boreiri, Jaggi and Stich, "A unified theory of decentralized SGD with changing topology and local
    updates", ICML 2020, without its constants.
    """
    tau, left, drift = rate.rounds, max(0.0, 1 - rate.p), math.sqrt(disagreement)
    periods = np.floor(rounds / tau).astype(np.int64)
    values, bound = np.empty(len(rounds)), start
    done = 0
    first = adapts_first and tau == 1
    for k, period in enumerate(periods):
        eta = float(step[max(k - 1, 0)])
        while done < period:
            pushed, scatter = tau * eta * drift, tau * eta**2 * noise
            if first:
                bound = left * (math.sqrt(bound) + pushed) ** 2 + left * scatter
            else:
                bound = (math.sqrt(left * bound) + pushed) ** 2 + scatter
            done += 1
        values[k] = bound
    return values


def _bound(run: Run, rate: MixingRate, landscape: Landscape, order: str) -> Line:
    rounds = run.column("round")
    start = run.column(CONSENSUS)[0]
    values = spread_bound(
        rounds,
        step_sizes(run) * run.training.local_steps,
        rate,
        disagreement=max(landscape.disagreement, landscape.heterogeneity),
        noise=landscape.noise,
        start=float(start) if np.isfinite(start) else 0.0,
        adapts_first=order == "adapt-then-combine",
    )
    exact = rate.kind == "exact" and run.training.is_single_plain_step
    return Line(
        name="spread of gradients against mixing",
        quantity=CONSENSUS,
        kind="bound" if exact else "order",
        source=f"recursion of the consensus distance ({_KOLOSKOVA}), φ and σ as measured at the last models",
        rounds=rounds,
        values=values,
    )


def _rest(
    run: Run, sequence: MixingSequence, problem: Problem, landscape: Landscape, order: str
) -> list[Line]:
    """Fixed points on quadratics: exact, or for the problem linearised at the last mean model."""
    simple = (
        run.training.schedule == "constant" and run.training.is_single_plain_step and not run.training.warm_up
    )
    if run.rows is None or sequence.period != 1 or sequence.n > _EXACT_NODES or problem.owners != sequence.n:
        return []
    mean = torch.from_numpy(run.rows.mean(axis=0)).to(problem.dtype)
    exact = quadratic_of(problem, mean) if simple else None
    if exact is not None:
        h, targets = exact
        kind, name = "exact", "fixed point and noise floor of D-PSGD"
        source = "fᵢ are quadratics with one curvature: Yuan, Ling and Yin, SIAM J. Optimization 2016"
    else:
        nodes = np.arange(sequence.n)
        gradients = local_gradients(problem, problem.trainer(), mean.expand(len(nodes), -1), nodes).numpy()
        h = landscape.stiffness
        if not h > 0:
            return []
        targets = mean[: gradients.shape[1]].double().numpy() - gradients / h
        kind, name = "order", "rest of D-PSGD, to first order"
        source = (
            "D-PSGD on quadratics that touch the losses at the last mean model; curvature "
            f"{h:.3g}, as measured along the nodes' deviations"
        )
    eta = float(step_sizes(run)[-1]) * run.training.local_steps
    try:
        value = resting_distance(
            sequence, eta, targets, h, order=order, noise=landscape.noise / targets.shape[1]
        )
    except TopologyError:
        return []  # it diverges for this step size, so there is no limit to draw
    rounds = run.column("round")
    return [
        Line(
            name=name,
            quantity=CONSENSUS,
            kind="exact" if kind == "exact" else "order",
            source=source,
            rounds=rounds,
            values=np.full(len(rounds), value),
        )
    ]


def resting_distance(
    sequence: MixingSequence, eta: float, targets: Floats, h: float, *, order: str, noise: float
) -> float:
    """Consensus distance at rest: of the fixed point, and of what noise of this variance a coordinate adds.

    The nodes' ``combine-then-adapt`` takes the gradient at the mixed models: its models are those of
    adapt-then-combine a step later. What `topology.spectrum` calls so is ``both-at-once`` here.
    """
    W = sequence.matrix(0)
    theirs: Order = "combine-then-adapt" if order == "both-at-once" else "adapt-then-combine"
    rest = spectrum.dsgd_fixed_point(W, eta, targets, order=theirs, curvature=h)
    floor = 0.0
    if noise > 0:
        floor = spectrum.dsgd_noise_floor(W, eta, order=theirs, noise=noise, curvature=h).value
    if order == "combine-then-adapt":
        rest = rest - eta * h * (rest - targets)
        floor = (1 - eta * h) ** 2 * floor + (1 - 1 / sequence.n) * eta**2 * noise
    return spectrum.consensus_distance(rest) + len(targets[0]) * floor


def _progress(run: Run, n: int, rate: MixingRate, landscape: Landscape) -> tuple[list[Line], list[Figure]]:
    """Koloskova et al.'s order of the rounds to a gradient as small as the last one."""
    loss = run.column("mean_model_loss")
    loss = loss if np.isfinite(loss).any() else run.column("loss_mean")
    loss = loss[np.isfinite(loss)]
    fall = float(loss[0] - loss.min()) if len(loss) else 0.0
    if not (landscape.gradient > 0 and fall > 0 and landscape.smoothness > 0):
        return [], []

    def rounds_to(target: float) -> float:
        return spectrum.predicted_rounds_to_target(
            rate,
            n,
            target,
            noise=math.sqrt(landscape.noise),
            heterogeneity=math.sqrt(landscape.heterogeneity),
            smoothness=landscape.smoothness,
            start=fall,
        ).value

    figure = Figure(
        name="rounds to ‖∇f(x̄)‖² as small as at the end",
        predicted=rounds_to(landscape.gradient),
        measured=run.last("round"),
        kind="order",
        source=f"{_KOLOSKOVA}, Theorem 2, non-convex, without its constant; L, σ and ζ as measured",
    )
    lines = []
    rounds = run.column("round")
    if GRADIENT in run.curves.columns and math.isfinite(figure.predicted):
        later = rounds[rounds > 0]
        values = np.array([_target_after(rounds_to, float(t)) for t in later])
        lines.append(
            Line(
                name=f"rate of {_KOLOSKOVA}",
                quantity=GRADIENT,
                kind="order",
                source=figure.source,
                rounds=later,
                values=values,
            )
        )
    return lines, [figure]


def _target_after(rounds_to: Callable[[float], float], rounds: float) -> float:
    """The number of rounds after which theory reaches the target: the inverse of a decreasing function."""

    def missing(logarithm: float) -> float:
        return math.log(rounds_to(math.exp(logarithm))) - math.log(rounds)

    low, high = -40.0, 40.0
    if missing(low) < 0 or missing(high) > 0:
        return float("nan")
    return math.exp(float(brentq(missing, low, high)))
