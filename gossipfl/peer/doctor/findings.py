"""Findings of an examination."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Finding", "Level", "error", "ok", "warning", "worst"]

Level = Literal["ok", "warning", "error"]
_LEVELS: tuple[Level, ...] = ("ok", "warning", "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Parameters
    ----------
    name : str
        What was checked.
    level : str
        ``ok``; ``warning``: the peer works, but may not for long, or not as well as it could; ``error``.
    seen : str
        What was seen.
    remedy : str or None
        What to do about it; None if nothing.
    """

    name: str
    level: Level
    seen: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """Return plain values for JSON."""
        return asdict(self)


def ok(name: str, seen: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(name, "ok", seen)


def warning(name: str, seen: str, remedy: str) -> Finding:
    """Return a finding that the operator should know of."""
    return Finding(name, "warning", seen, remedy)


def error(name: str, seen: str, remedy: str) -> Finding:
    """Return a finding that keeps the peer from working."""
    return Finding(name, "error", seen, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the highest level of findings."""
    return max((each.level for each in findings), key=_LEVELS.index, default="ok")
