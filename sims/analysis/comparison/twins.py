"""Real peers compared with simulations of them: differences beyond chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.wording import say_figure, wanted

__all__ = ["beside_twins"]

_FEWEST = 3

_Floats = NDArray[np.float64]
_Say = Callable[[float], str]


def beside_twins(analysis: Analysis) -> list[str]:
    """State whether each network of real peers is within the range of several seeds of each simulation.

    Simulations with fewer than three seeds are left out.
    """
    real = [group for group in analysis.groups if group.runs[0].run.source == "peers"]
    simulated = [group for group in analysis.groups if group.runs[0].run.source == "simulator"]
    said = []
    for peers in real:
        for twins in simulated:
            names = (peers.label, f"{len(twins.runs)} seeds of {twins.label}")
            ends = peers.values("mean_of_models"), twins.values("mean_of_models")
            said.append(_placed(names, *ends, f"end at {{}} {analysis.metric}", _say_metric(analysis)))
            if analysis.target is not None:
                seconds = peers.costs["seconds"], twins.costs["seconds"]
                said.append(_placed(names, *seconds, f"reach {wanted(analysis)} after {{}}", _say_seconds))
    return [sentence for sentence in said if sentence]


def _say_metric(analysis: Analysis) -> _Say:
    return lambda value: say_figure(analysis, value)


def _say_seconds(value: float) -> str:
    return f"{value:.3g} s"


def _placed(names: tuple[str, str], own: _Floats, theirs: _Floats, claim: str, say: _Say) -> str:
    """Whether the mean of some values is within the range of others; empty if there are too few."""
    own, theirs = own[np.isfinite(own)], theirs[np.isfinite(theirs)]
    if not len(own) or len(theirs) < _FEWEST:
        return ""
    value, low, high = float(own.mean()), float(theirs.min()), float(theirs.max())
    place = "within" if low <= value <= high else "outside"
    return (
        f"{names[0]} {claim.format(say(value))}, {place} the range of {names[1]}: {say(low)} to {say(high)}."
    )
