"""Comparison of runs: measured, grouped by configuration, with findings in sentences."""

from __future__ import annotations

from sims.analysis.comparison.analysis import Analysis, analyse
from sims.analysis.comparison.findings import findings
from sims.analysis.comparison.measured_group import MeasuredGroup
from sims.analysis.comparison.measuring import Measured
from sims.analysis.comparison.questions import Questions

__all__ = ["Analysis", "Measured", "MeasuredGroup", "Questions", "analyse", "findings"]
