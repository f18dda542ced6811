"""Reasons for the rank of a candidate, in a sentence."""

from __future__ import annotations

from topology.advice.recommendation import Recommendation

__all__ = ["reason_for"]


def reason_for(r: Recommendation, best: Recommendation) -> str:
    """Say how `r` mixes, what a round of it costs, and how it compares with `best`."""
    if r.rate.p > 1 - 1e-12:
        mixes = f"averages exactly every {r.rate.rounds} rounds" if r.rate.rounds > 1 else "averages exactly"
    else:
        span = "every round" if r.rate.rounds == 1 else f"every {r.rate.rounds} rounds"
        mixes = f"removes at least {_share(r.rate.p)} of disagreement {span}"
    sends = f"{r.cost.max_degree} model{'s' if r.cost.max_degree > 1 else ''} a node and round"
    price = f"{r.rounds / r.ideal_rounds:.3g} times the rounds of perfect averaging"
    sentence = f"It {mixes} at {sends}, so it needs {price} at {r.seconds_per_round:.3g} s each"
    if r is best:
        return f"{sentence}: the least time of all."
    slower = r.seconds / best.seconds
    if slower < 1.005:
        return f"{sentence}: level with the best."
    shorter = r.seconds_per_round < best.seconds_per_round * 0.995
    fewer = r.rounds < best.rounds * 0.995
    cause = "shorter rounds, but too many" if shorter else "fewer rounds, but too long ones" if fewer else ""
    cause = cause or "neither fewer rounds nor shorter ones than the best"
    return f"{sentence}: {slower:.3g} times the best time ({cause})."


def _share(p: float) -> str:
    return f"{int(p * 1000) / 10:.3g} %"
