"""Convergence analysis: speed, cost and fairness of runs, and comparison with theory.

``load_runs(paths)`` reads runs of the simulator and of real peers alike; ``analyse(runs)`` measures and compares
them; ``findings(analysis)`` states the results in sentences.
"""

from __future__ import annotations

from sims.analysis.comparison import Analysis, Measured, MeasuredGroup, Questions, analyse, findings
from sims.analysis.runs import Run, load_runs

__all__ = [
    "Analysis",
    "Measured",
    "MeasuredGroup",
    "Questions",
    "Run",
    "analyse",
    "findings",
    "load_runs",
]
