"""Predictions of theory for the networks and problems of runs."""

from __future__ import annotations

from sims.analysis.theory.gathering import Theory, theory_of
from sims.analysis.theory.prediction import Figure, Line

__all__ = ["Figure", "Line", "Theory", "theory_of"]
