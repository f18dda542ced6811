"""Predictions as values: lines to draw over measured curves, and figures to compare with measured ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topology.spectrum.prediction import PredictionKind

__all__ = ["CONSENSUS", "Figure", "Line", "PredictionKind"]

CONSENSUS = "consensus_distance"


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A curve predicted by theory.

    Parameters
    ----------
    name : str
    quantity : str
        Column of the measured curve it is drawn on.
    kind : {'exact', 'asymptotic', 'bound', 'order'}
        As in `topology.spectrum.Prediction`.
    source : str
        The paper, and the values put into its formula.
    rounds, values : ndarray
        Shape ``[k]``.
    """

    name: str
    quantity: str
    kind: PredictionKind
    source: str
    rounds: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number predicted by theory, with the measured one where there is one.

    Parameters
    ----------
    name : str
    predicted : float
    measured : float or None
    kind : {'exact', 'asymptotic', 'bound', 'order'}
    source : str
    remark : str
        How the measured value compares with the predicted one, as the end of a sentence; may be empty.
    """

    name: str
    predicted: float
    measured: float | None
    kind: PredictionKind
    source: str
    remark: str = ""
