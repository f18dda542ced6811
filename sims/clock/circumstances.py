"""Circumstances of rounds: what takes time in a network, who is there, and what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.clock.attendance import Attending
from sims.compiler.timeline.links import Links

__all__ = ["Circumstances"]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What takes time in a network, and what goes wrong in it.

    Parameters
    ----------
    links : Links
    step_seconds : ndarray
        Of a step of training at each node, ``[n]``.
    travel : callable
        Seconds from a sender to a receiver, the transfer left out, by the number of the message.
    to_server : ndarray
        The same between each node and a server, ``[n]``.
    is_lost : callable
        Whether the message of a sender with this number is lost.
    attending : callable
        Who is there in the round with a number, which begins at a time.
    deadline : float
        Seconds that an exchange waits; may be infinite.
    period : float
        Seconds that a round without anybody takes.
    least : callable
        Seconds that a round takes at least, by the node and the number of the round.
    pace : callable
        How many times longer than usual a node trains in a round.
    confirmations : int
        Round trips to the farthest neighbour after all rows are there.
    """

    links: Links
    step_seconds: NDArray[np.float64]
    travel: Callable[[int, int, int], float]
    to_server: NDArray[np.float64]
    is_lost: Callable[[int, int], bool]
    attending: Callable[[int, float], Attending]
    deadline: float = math.inf
    period: float = 1.0
    least: Callable[[int, int], float] = lambda node, number: 0.0
    pace: Callable[[int, int], float] = lambda node, number: 1.0
    confirmations: int = 0
