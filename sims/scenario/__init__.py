"""Scenarios: one TOML file describes a network of learning nodes, its links, its churn, and what is measured."""

from __future__ import annotations

from sims.scenario.scenario import Scenario
from sims.scenario.text import load_scenario, parse_scenario, to_toml

__all__ = ["Scenario", "load_scenario", "parse_scenario", "to_toml"]
