"""Settings of when a peer may train."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from gossipfl.settings.hours import parse_hours, parse_zone
from gossipfl.settings.table import Table

__all__ = ["PolicySettings"]


class PolicySettings(Table):
    """When this peer may train: while all conditions that are set hold; at any time if none is set."""

    merge: Literal["always", "then"] = "always"
    """whether models of others are merged always, or only then too"""
    other_cpu: float | None = Field(None, gt=0, le=1)
    """largest share of the machine's CPU that other processes may use (needs gossipfl[policy])"""
    battery: float | None = Field(None, ge=0, le=1)
    """least charge of the battery, as a share of a full one; holds on a machine without a battery (needs
    gossipfl[policy])"""
    charging: bool = False
    """whether to train on external power only (needs gossipfl[policy])"""
    unmetered: bool = False
    """whether to train only while the network is not metered, as NetworkManager says (needs gossipfl[policy])"""
    hours: list[str] = Field(default_factory=list)
    """local times, each e.g. 22:00-06:30 or "Sat-Sun 08:00-20:00"; a range over midnight belongs to the day of its
    beginning"""
    timezone: str | None = None
    """time zone of the hours, e.g. Europe/Paris; the machine's own if not set"""
    temperature: float | None = Field(None, gt=0, le=150)
    """highest temperature of any of the machine's sensors, in degrees Celsius (needs gossipfl[policy])"""
    memory_pressure: float | None = Field(None, gt=0, le=1)
    """largest share of the last ten seconds in which some process waited for memory (Linux)"""
    script: Path | None = None
    """program that decides anything else: exit code 0 allows training; relative to the peer's home"""
    script_seconds: float = Field(10.0, gt=0, le=600)
    """seconds after which the script is killed"""
    unreadable: Literal["wait", "train"] = "wait"
    """what to do while a condition cannot be read"""
    period: float = Field(5.0, gt=0)
    """seconds between checks"""
    dwell: float = Field(60.0, ge=0)
    """seconds for which all conditions must hold before training goes on"""

    @field_validator("hours")
    @classmethod
    def _hours(cls, hours: list[str]) -> list[str]:
        for each in hours:
            parse_hours(each)
        return hours

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, name: str | None) -> str | None:
        if name is not None:
            parse_zone(name)
        return name
