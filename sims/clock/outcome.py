"""The outcome of a round in real time: when nodes end it, who is away, and which rows do not arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.clock.attendance import Attending

__all__ = ["MissingRows", "RoundTimes"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MissingRows:
    """Rows of an exchange that do not arrive.

    Parameters
    ----------
    receivers, senders : ndarray
        A pair for each of them, int64.
    unsent : int
        How many of them are not sent at all, since one of the two is away.
    """

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    unsent: int = 0

    def __len__(self) -> int:
        return len(self.receivers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundTimes:
    """A round of all nodes.

    Parameters
    ----------
    ends : ndarray
        When each node is done with it, in seconds since the start, ``[n]``.
    attending : Attending
        Who is there.
    missing : tuple of MissingRows
        For each of its exchanges.
    """

    ends: NDArray[np.float64]
    attending: Attending
    missing: tuple[MissingRows, ...]
