"""Fleets of phones: costs of a simulated week to each phone, and its outcome."""

from sims.fleet.goodput import Goodput, goodput
from sims.fleet.report import FleetReport, fleet_report

__all__ = ["FleetReport", "Goodput", "fleet_report", "goodput"]
