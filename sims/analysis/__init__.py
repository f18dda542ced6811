"""Convergence analysis: speed, cost and fairness of runs, and comparison with theory.

``load_runs(paths)`` reads runs of the simulator and of real peers alike; ``analyse(runs)`` measures and compares
them; ``findings(analysis)`` states the results in sentences.
"""

from __future__ import annotations

from sims.analysis.comparison.analysis import Analysis, analyse
from sims.analysis.comparison.findings import findings
from sims.analysis.comparison.measured_group import MeasuredGroup
from sims.analysis.comparison.measuring import Measured
from sims.analysis.comparison.questions import Questions
from sims.analysis.runs.loading import load_runs
from sims.analysis.runs.run import Run

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
