"""Rates of mixing, and the bounds, orders and transients of decentralised SGD they give."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, e, inf, log, sqrt
from typing import Literal

import numpy as np

from topology.bounds import check_at_least, check_choice, check_number
from topology.sequences.sequence import MixingSequence
from topology.spectrum.consensus import expected_consensus_curve
from topology.spectrum.eigen import DENSE_NODES, contraction_factor
from topology.spectrum.prediction import Prediction
from topology.spectrum.shifts import circulant_factors

__all__ = [
    "Convexity",
    "MixingRate",
    "PairSelection",
    "mixing_rate",
    "pairwise_variance_ratio",
    "predicted_rounds_to_consensus",
    "predicted_rounds_to_target",
    "transient_iterations",
]

_EXACT = 1e-20

Convexity = Literal["strongly convex", "convex", "non-convex"]
PairSelection = Literal["perfect matching", "sequential", "random pairs"]

_KOLOSKOVA = (
    "Koloskova, Loizou, Boreiri, Jaggi and Stich, 'A unified theory of decentralized SGD with changing"
    " topology and local updates', ICML 2020"
)


@dataclass(frozen=True)
class MixingRate:
    """Over `rounds` rounds, the expected consensus distance falls to at most ``1 − p`` of its value.

    Parameters
    ----------
    p : float
        From 0 (no mixing) to 1 (exact consensus): assumption 4 of Koloskova et al. 2020.
    rounds : int
        τ of the same assumption; 1 for fixed and random sequences, the period for periodic ones.
    kind : {"exact", "order"}
        ``exact``: computed from the matrices. ``order``: estimated from a realised curve.
    """

    p: float
    rounds: int
    kind: Literal["exact", "order"]


def mixing_rate(sequence: MixingSequence) -> MixingRate:
    """Return p and τ of a sequence.

    Parameters
    ----------
    sequence : MixingSequence

    Returns
    -------
    MixingRate
        ``p = 1 − ‖(I − J)ΠW‖₂²`` over a period, exactly; ``1 − β`` for random sequences whose expected
        contraction is known; for other random ones the mean decay of their consensus curve. Periodic
        sequences of more than 1,024 nodes and a period above 1 are judged by their consensus curve too.
    """
    if sequence.period is None:
        beta = sequence.expected_contraction
        if beta is not None:
            return MixingRate(p=1 - beta, rounds=1, kind="exact")
        return MixingRate(p=1 - _mean_decay(sequence, 10), rounds=1, kind="order")
    if sequence.period == 1:
        return MixingRate(p=1 - contraction_factor(sequence.matrix(0)) ** 2, rounds=1, kind="exact")
    if sequence.n > DENSE_NODES:
        p = 1 - _mean_decay(sequence, sequence.period) ** sequence.period
        return MixingRate(p=p, rounds=sequence.period, kind="order")
    left = _left_of_period(sequence)
    return MixingRate(p=1 - left if left > _EXACT else 1.0, rounds=sequence.period, kind="exact")


def _left_of_period(sequence: MixingSequence) -> float:
    """``‖(I − J)ΠW‖₂²`` over a period."""
    factors = circulant_factors(sequence)
    if factors is not None:
        return float(factors.prod(axis=0).max())
    P = np.eye(sequence.n)
    for t in range(sequence.period or 0):
        P = sequence.matrix(t) @ P
    P -= P.mean(axis=0)
    left = float(np.vdot(P, P))  # no less than the square of the norm
    if left > _EXACT:
        left = float(
            np.linalg.eigvalsh(P.T @ P)[-1]
        )  # LAPACK's search for one eigenvalue fails on some of these
    return left


def _mean_decay(sequence: MixingSequence, rounds: int) -> float:
    curve = expected_consensus_curve(sequence, rounds, repeats=5)
    return float(max(curve[-1], 1e-300) / curve[0]) ** (1 / rounds) if curve[0] > 0 else 0.0


def predicted_rounds_to_consensus(sequence: MixingSequence, tolerance: float = 1e-6) -> Prediction:
    """Return the number of rounds after which the consensus distance is certainly below `tolerance` of its start.

    Parameters
    ----------
    sequence : MixingSequence
    tolerance : float
        In (0, 1).

    Returns
    -------
    Prediction
        ``τ ⌈ln(1/tolerance) / −ln(1 − p)⌉``, a bound (in expectation for random sequences); infinite where p
        is 0; an order where p had to be estimated.

    Raises
    ------
    InvalidParameter
        If `tolerance` is outside (0, 1).
    """
    tolerance = check_number("tolerance", tolerance, gt=0, lt=1, remedy="Pass e.g. 1e-6")
    rate = mixing_rate(sequence)
    kind: Literal["bound", "order"] = "bound" if rate.kind == "exact" else "order"
    if rate.p <= 1e-15:
        value = inf
    elif rate.p >= 1:
        value = float(rate.rounds)
    else:
        value = float(rate.rounds * ceil(log(1 / tolerance) / -log(1 - rate.p)))
    return Prediction(value, kind, "contraction of the consensus distance by 1 - p every tau rounds")


def predicted_rounds_to_target(
    rate: MixingRate,
    n: int,
    target: float,
    *,
    convexity: Convexity = "non-convex",
    noise: float = 1.0,
    heterogeneity: float = 0.0,
    smoothness: float = 1.0,
    strong_convexity: float = 0.1,
    start: float = 1.0,
) -> Prediction:
    """Return the order of rounds decentralised SGD needs to reach a target, after Koloskova et al. 2020.

    Parameters
    ----------
    rate : MixingRate
        p and τ, from `mixing_rate`.
    n : int
        Number of nodes.
    target : float
        ε: squared gradient norm (non-convex), or distance of the loss from its minimum (convex).
    convexity : {"strongly convex", "convex", "non-convex"}
    noise : float
        σ, standard deviation of a node's stochastic gradient.
    heterogeneity : float
        ζ, root mean square distance of the nodes' gradients from their mean.
    smoothness, strong_convexity : float
        L and μ.
    start : float
        F₀ = f(x₀) − f* (non-convex), or ‖x₀ − x*‖² (convex).

    Returns
    -------
    Prediction
        The sum of the theorem's terms without its constant: an order. Compare topologies with it.

    Raises
    ------
    InvalidParameter
        If a quantity is out of range.

    References
    ----------
    Koloskova et al., "A unified theory of decentralized SGD with changing topology and local updates", ICML
    2020, Theorem 2.
    """
    n = check_at_least("n", n, 1)
    check_choice("convexity", convexity, Convexity)
    positive = {
        "target": target,
        "smoothness": smoothness,
        "strong_convexity": strong_convexity,
        "start": start,
    }
    for name, quantity in positive.items():
        check_number(name, quantity, gt=0)
    for name, quantity in {"noise": noise, "heterogeneity": heterogeneity}.items():
        check_number(name, quantity, ge=0)
    if rate.p <= 0:
        return Prediction(inf, "order", f"{_KOLOSKOVA}, Theorem 2 (p = 0: no consensus)")
    p, tau = rate.p, rate.rounds
    drift = heterogeneity * tau + noise * sqrt(p * tau)
    if convexity == "non-convex":
        terms = noise**2 / (n * target**2) + drift / (p * target**1.5) + tau / (p * target)
        value = terms * smoothness * start
    elif convexity == "convex":
        terms = noise**2 / (n * target**2) + sqrt(smoothness) * drift / (p * target**1.5)
        value = (terms + smoothness * tau / (p * target)) * start
    else:
        mu = strong_convexity
        terms = noise**2 / (n * mu * target) + sqrt(smoothness) * drift / (mu * p * sqrt(target))
        value = terms + smoothness * tau / (mu * p) * log(max(start / target, e))
    return Prediction(value, "order", f"{_KOLOSKOVA}, Theorem 2, {convexity}")


def transient_iterations(n: int, gap: float, *, heterogeneous: bool = True) -> Prediction:
    """Return the order of rounds before decentralised SGD is as fast as if all gradients were averaged.

    Parameters
    ----------
    n : int
        Number of nodes.
    gap : float
        Spectral gap 1 − ρ, in (0, 1].
    heterogeneous : bool
        Whether the nodes' data differ.

    Returns
    -------
    Prediction
        n³/(1 − ρ)⁴ with heterogeneous data, n³/(1 − ρ)² with homogeneous: an order, for non-convex losses.

    Raises
    ------
    InvalidParameter
        If `gap` is outside (0, 1] or `n` below 1.

    References
    ----------
    Ying et al., "Exponential graph is provably efficient for decentralized deep training", NeurIPS 2021,
    section 2 and Table 1.
    """
    n = check_at_least("n", n, 1)
    gap = check_number("gap", gap, gt=0, le=1 + 1e-12, remedy="Pass spectral_gap(W) of a connected graph")
    value = n**3 / gap ** (4 if heterogeneous else 2)
    return Prediction(value, "order", "Ying et al., NeurIPS 2021, Table 1")


def pairwise_variance_ratio(
    selection: PairSelection,
) -> Prediction:
    """Return the share of the variance that one cycle of pairwise averaging leaves, for many nodes.

    Parameters
    ----------
    selection : {"perfect matching", "sequential", "random pairs"}
        How the n pairs of a cycle are chosen: two perfect matchings; each node in turn with a random other
        (push-pull gossip); or n uniformly random pairs.

    Returns
    -------
    Prediction
        ¼, 1/(2√e) or 1/e, in the limit of many nodes.

    Raises
    ------
    InvalidParameter
        If `selection` is not one of these.

    References
    ----------
    Jelasity, Montresor and Babaoglu, "Gossip-based aggregation in large dynamic networks", ACM TOCS
    23, 2005, section 3.2.
    """
    check_choice("selection", selection, PairSelection)
    ratios = {"perfect matching": 0.25, "sequential": 1 / (2 * sqrt(e)), "random pairs": 1 / e}
    return Prediction(ratios[selection], "asymptotic", "Jelasity, Montresor and Babaoglu 2005, section 3.2")
