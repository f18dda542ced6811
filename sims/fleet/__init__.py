"""Fleets of phones: costs of a simulated week to each phone, and its outcome; and private learning in cohorts."""

from sims.fleet.cohorts import Cohorts, CohortSettings, Measured
from sims.fleet.goodput import Goodput, goodput
from sims.fleet.promise import Promise, epsilon_of
from sims.fleet.report import FleetReport, fleet_report

__all__ = [
    "CohortSettings",
    "Cohorts",
    "FleetReport",
    "Goodput",
    "Measured",
    "Promise",
    "epsilon_of",
    "fleet_report",
    "goodput",
]
