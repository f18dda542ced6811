"""Fleets of phones: what a simulated week cost each phone, what came of its work, and for whom."""

from sims.fleet.goodput import Goodput, goodput
from sims.fleet.report import FleetReport, fleet_report

__all__ = ["FleetReport", "Goodput", "fleet_report", "goodput"]
