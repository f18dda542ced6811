"""Advice on outer steps: rate, momentum and local steps of a topology."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from numpy.typing import ArrayLike

from topology.bounds import check_number
from topology.cost import SequenceCost, sequence_cost
from topology.errors import InvalidParameter
from topology.sequences import MixingSequence
from topology.spectrum import OuterStep, fastest_outer_rate, largest_outer_rate, recommended_outer_step
from topology.spectrum.outer_sampled import rounds_drawn

__all__ = ["OuterAdvice", "OuterChoice", "advise_outer"]

_MOMENTA = (0.0, 0.3, 0.5, 0.7, 0.9)
_SHARE = 0.1
_FAR = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterChoice:
    """An outer momentum and what it allows.

    Attributes
    ----------
    momentum : float
        μ.
    fastest : OuterStep
        The outer rate whose disagreement shrinks fastest.
    stable_below : float, optional
        Outer rate from which disagreement grows; None if it does at the fastest already. At most 4.
    """

    momentum: float
    fastest: OuterStep
    stable_below: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterAdvice:
    """Outer steps of a topology, and the one to take.

    Attributes
    ----------
    choices : tuple of OuterChoice
        Of several momenta.
    step : OuterStep, optional
        The one with the most progress with which disagreement halves in two rounds; None without any.
    rounds_drawn : int, optional
        Rounds from which factors are estimated; None if they are exact.
    cost : SequenceCost
        Of an exchange.
    local_steps : int, optional
        Fewest local steps with which exchanges take at most a tenth of the time; None if steps take no time.
    """

    choices: tuple[OuterChoice, ...]
    step: OuterStep | None
    rounds_drawn: int | None
    cost: SequenceCost
    local_steps: int | None


def advise_outer(
    sequence: MixingSequence,
    *,
    message_bytes: int,
    bandwidth: ArrayLike,
    latency: ArrayLike = 0.0,
    downlink: ArrayLike | None = None,
    step_seconds: float = 0.0,
) -> OuterAdvice:
    """Choose η, μ and H of algorithms with outer momentum (`noloco`, `gasloc`) for a topology.

    Of all outer steps with which the mean square of disagreement halves within two rounds, η ≤ 1, the one with the
    most progress η/(1 − μ); and as few local steps as leave nine tenths of the time to them.

    Parameters
    ----------
    sequence : MixingSequence
    message_bytes, bandwidth, latency, downlink
        As for `topology.cost.round_cost`.
    step_seconds : float
        Seconds of a local step; 0 if unknown.

    Raises
    ------
    InvalidParameter, TooLarge
        If there is one node, a quantity is out of range, or the sequence's random matrices are not doubly
        stochastic; see `topology.spectrum.outer_consensus_factor`.
    """
    if sequence.n < 2:
        raise InvalidParameter(
            "one node disagrees with nobody",
            expected="at least 2 nodes",
            got=sequence.n,
            remedy="Choose its outer step by the loss, as of Lookahead (Zhang et al., NeurIPS 2019).",
        )
    seconds = check_number("step_seconds", step_seconds, ge=0)
    cost = sequence_cost(
        sequence, message_bytes=message_bytes, bandwidth=bandwidth, latency=latency, downlink=downlink
    )
    is_drawn = sequence.period is None and sequence.expected_contraction is None
    choices = []
    for momentum in _MOMENTA:
        stable = largest_outer_rate(sequence, momentum, most=_FAR)
        choices.append(
            OuterChoice(
                momentum=momentum,
                fastest=fastest_outer_rate(sequence, momentum),
                stable_below=None if stable is None else stable.rate,
            )
        )
    return OuterAdvice(
        choices=tuple(choices),
        step=recommended_outer_step(sequence),
        rounds_drawn=rounds_drawn(sequence.n) if is_drawn else None,
        cost=cost,
        local_steps=max(1, ceil((1 / _SHARE - 1) * cost.seconds / seconds)) if seconds else None,
    )
