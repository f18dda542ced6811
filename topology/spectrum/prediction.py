"""A predicted number, and its kind of prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Prediction", "PredictionKind"]

PredictionKind = Literal["exact", "asymptotic", "bound", "order"]


@dataclass(frozen=True)
class Prediction:
    """A predicted quantity.

    Parameters
    ----------
    value : float
        The number.
    kind : {"exact", "asymptotic", "bound", "order"}
        ``exact``: holds with equality. ``asymptotic``: in the limit of many nodes. ``bound``: the true value
        is no worse. ``order``: a bound up to a constant factor the theory does not give; compare topologies
        with it, do not read it as a count.
    source : str
        The paper and its equation or theorem.
    """

    value: float
    kind: PredictionKind
    source: str

    def __float__(self) -> float:
        return float(self.value)
