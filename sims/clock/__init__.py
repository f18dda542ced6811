"""Rounds in real time: when each node's computation and messages of a round end, and which come too late."""

from __future__ import annotations

from sims.clock.attendance import Attendance, Attending
from sims.clock.circumstances import Circumstances
from sims.clock.outcome import MissingRows, RoundTimes
from sims.clock.profile import ExchangeProfile, Rehearsal, RoundProfile
from sims.clock.round_clock import RoundClock
from sims.clock.setting import clock_of, failures_of

__all__ = [
    "Attendance",
    "Attending",
    "Circumstances",
    "ExchangeProfile",
    "MissingRows",
    "Rehearsal",
    "RoundClock",
    "RoundProfile",
    "RoundTimes",
    "clock_of",
    "failures_of",
]
