"""Candidates ranked by the time that theory predicts until training reaches its target.

The time of a candidate is its rounds (`topology.advice.rounds`) times the seconds of a round (`topology.cost`). A
candidate whose curve is nowhere above another's, and whose round is no longer, never ranks behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from topology.advice.candidates import candidate_expressions
from topology.advice.disagreement import lifetimes, rate_kept_by, rate_of
from topology.advice.reasons import reason_for
from topology.advice.recommendation import Advice, Recommendation, Refusal
from topology.advice.rounds import Training
from topology.bounds import check_at_least, check_number
from topology.catalogue import NamedTopology, build
from topology.cost import sequence_cost
from topology.errors import InvalidParameter, SolverFailed
from topology.sequences import MixingSequence
from topology.spectrum import expected_consensus_curve, hostile_neighbours_survivable

__all__ = ["advise"]

# Up to this many nodes curves are cheap, and followed this far.
_SMALL = 256
_SLOW_ROUNDS = 500
_AS_GOOD = 1e-3


def advise(  # noqa: PLR0917 - the seven that every question has, in the order they are asked
    n: int,
    degree_budget: int,
    model_bytes: int,
    bandwidth: ArrayLike,
    latency: ArrayLike = 0.0,
    heterogeneity: float = 1.0,
    noise: float = 1.0,
    *,
    target: float = 0.1,
    smoothness: float = 1.0,
    initial_gap: float = 1.0,
    compute_seconds: float = 0.0,
    downlink: ArrayLike | None = None,
    candidates: Sequence[str] | None = None,
    hostile: int = 0,
    seed: int = 0,
) -> Advice:
    """Rank topologies by the predicted time to a target.

    Parameters
    ----------
    n : int
        Nodes, at least 2.
    degree_budget : int
        Models a node may send in a round, at least 1.
    model_bytes : int
        Size of a model on the wire.
    bandwidth, latency, downlink
        As in `topology.cost.round_cost`: bits per second and seconds.
    heterogeneity : float
        ζ: root mean square over nodes of ‖∇fᵢ − ∇f‖.
    noise : float
        σ: root mean square of a stochastic gradient's deviation.
    target : float
        ε: the mean of ‖∇f‖² over rounds to be reached, at the nodes' own models.
    smoothness, initial_gap : float
        L, and f(x₀) − f*. They scale all candidates equally.
    compute_seconds : float
        Local training between two rounds of communication.
    candidates : sequence of str, optional
        Expressions to choose from; by default all families that exist for `n` within the budget.
    hostile : int
        Hostile neighbours that each honest node may have; graphs on which no rule survives so many are refused.
    seed : int
        For candidates drawn at random.

    Returns
    -------
    Advice

    Raises
    ------
    InvalidParameter
        If a quantity is out of its range, a candidate has another number of nodes, or none can be
        recommended.
    UnknownTopology, MalformedExpression
        If a candidate's expression cannot be read.

    Examples
    --------
    >>> import topology
    >>> advice = topology.advise(60, 4, 5_000_000, 20e6, 0.03)
    >>> advice.best.cost.max_degree <= 4
    True
    """
    n, degree_budget = check_at_least("n", n, 2), check_at_least("degree_budget", degree_budget, 1)
    hostile = check_at_least("hostile", hostile, 0)
    compute_seconds = check_number("compute_seconds", compute_seconds, ge=0)
    for name, value in {"target": target, "smoothness": smoothness, "initial_gap": initial_gap}.items():
        check_number(name, value, gt=0, lt=inf)
    for name, value in {"heterogeneity": heterogeneity, "noise": noise}.items():
        check_number(name, value, ge=0, lt=inf)

    training = Training(
        n=n,
        heterogeneity=heterogeneity,
        noise=noise,
        target=target,
        smoothness=smoothness,
        initial_gap=initial_gap,
    )
    tried = candidates or candidate_expressions(n, degree_budget, seed, hostile=hostile)
    if not tried:
        raise InvalidParameter(
            "no graph of this degree survives so many hostile neighbours",
            expected=f"a degree budget of at least {min(2 * hostile + 1, n - 1)}"
            if n > 2 * hostile
            else f"at least {2 * hostile + 1} nodes",
            got=degree_budget if n > 2 * hostile else n,
        )
    found: list[Recommendation] = []
    refused: list[Refusal] = []
    seen: set[bytes] = set()
    for expression in tried:
        named = _built(expression, n)
        sequence = named.sequence
        matrices = _digest(sequence)
        if not candidates and matrices in seen:
            continue  # such as base:1000,k=5, which has no use for a fifth neighbour
        seen.add(matrices)
        survivable = _survivable(named)
        objection = _objection(sequence, degree_budget) or _too_hostile(survivable, hostile)
        if objection:
            refused.append(Refusal(expression=expression, why=objection))
            continue
        try:
            rate = rate_of(sequence)
        except SolverFailed:
            refused.append(Refusal(expression=expression, why="its gap is too small to resolve"))
            continue
        curve = _curve(sequence)
        rate = rate_kept_by(curve, rate)
        if rate.p <= 1e-12:
            why = f"its consensus curve stops at {curve[-1]:.2g}: it never brings all nodes together"
            refused.append(Refusal(expression=expression, why=why))
            continue
        cost = sequence_cost(
            sequence, message_bytes=model_bytes, bandwidth=bandwidth, latency=latency, downlink=downlink
        )
        S, H = lifetimes(curve, rate)
        rounds, step = training.rounds(curve, rate)
        found.append(
            Recommendation(
                expression=expression,
                seconds=rounds * (cost.seconds + compute_seconds),
                rounds=rounds,
                ideal_rounds=training.ideal_rounds,
                step=step,
                seconds_per_round=cost.seconds + compute_seconds,
                noise_lifetime=S,
                difference_lifetime=H,
                rate=rate,
                cost=cost,
                curve=curve,
                hostile_neighbours=survivable,
                why="",
            )
        )
    if not found:
        told = "; ".join(f"{refusal.expression}: {refusal.why}" for refusal in refused)
        raise InvalidParameter("no candidate can be recommended", got=told, remedy="Raise the degree budget")
    ranked = sorted(_consistent(found), key=_rank)
    return Advice(
        recommendations=tuple(replace(r, why=reason_for(r, ranked[0])) for r in ranked),
        refusals=tuple(refused),
    )


def _built(expression: str, n: int) -> NamedTopology:
    named = build(expression)
    if named.sequence.n != n:
        raise InvalidParameter(
            f"the candidate {expression!r} has another number of nodes", expected=n, got=named.sequence.n
        )
    return named


def _survivable(named: NamedTopology) -> int | None:
    if named.graph is None or named.graph.directed or named.graph.n < 2:
        return None
    return hostile_neighbours_survivable(named.graph)


def _too_hostile(survivable: int | None, hostile: int) -> str | None:
    if not hostile or (survivable is not None and survivable >= hostile):
        return None
    if survivable is None:
        return "only of undirected graphs that stay is it known how many hostile neighbours can be survived"
    return f"no rule survives {hostile} hostile neighbours on it, only {survivable} (fewer than μ₂/2)"


def _digest(sequence: MixingSequence) -> bytes:
    """The same for sequences of the same matrices; a random one is like no other."""
    digest = sha256(str(sequence.period or sequence.name).encode())
    for t in range(sequence.period or 0):
        W = sequence.matrix(t)
        for array in (W.indptr, W.indices):
            digest.update(array.astype(np.int64).tobytes())
        digest.update(W.data.round(12).tobytes())
    return digest.digest()


def _objection(sequence: MixingSequence, degree_budget: int) -> str | None:
    if sequence.degree > degree_budget:
        return (
            f"its busiest node sends {sequence.degree} models in a round, above the budget of {degree_budget}"
        )
    if sequence.stochastic != "doubly":
        return "its matrices do not keep the mean, which the theorem needs"
    return None


def _curve(sequence: MixingSequence) -> NDArray[np.float64]:
    """Two periods of the consensus curve at least; of few nodes, until it is as good as consensus."""
    rounds = max(4 * int(np.ceil(np.log2(sequence.n))) + 8, 2 * (sequence.period or 1))
    curve = np.asarray(expected_consensus_curve(sequence, rounds), dtype=np.float64)
    if sequence.n <= _SMALL and curve[-1] > _AS_GOOD * curve[0]:
        curve = np.asarray(expected_consensus_curve(sequence, _SLOW_ROUNDS), dtype=np.float64)
    return curve


def _consistent(found: list[Recommendation]) -> list[Recommendation]:
    """Rounds lowered to those of any candidate whose curve is nowhere below and whose round is no shorter."""
    length = min(len(r.curve) for r in found)
    curves = np.array([r.curve[:length] for r in found])
    seconds = np.array([r.seconds_per_round for r in found])
    consistent = []
    for index, r in enumerate(found):
        no_worse = (curves[index] <= curves * (1 + 1e-9) + 1e-15).all(axis=1)
        no_worse &= seconds[index] <= seconds * (1 + 1e-12)
        rounds = min(other.rounds for other, holds in zip(found, no_worse, strict=True) if holds)
        consistent.append(replace(r, rounds=rounds, seconds=rounds * r.seconds_per_round))
    return consistent


def _rank(r: Recommendation) -> tuple[float, float, float, float]:
    """Sooner first; of equals the shorter round, then the lower curve, then fewer bytes."""
    return (float(f"{r.seconds:.9g}"), r.seconds_per_round, float(f"{r.curve.sum():.9g}"), r.cost.bytes)
