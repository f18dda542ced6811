"""The decision whether a peer may train now, as pure functions of readings and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gossipfl.settings import PolicySettings
from gossipfl.settings.hours import parse_hours

__all__ = ["Decision", "Finding", "Reading", "conditions_of", "decided", "judged"]

#: While training waits, limits are stricter by this share, so that a value near its limit does not flap.
_MARGIN: Final = 0.05
_CHECKED: Final = ("other_cpu", "battery", "temperature", "memory_pressure", "script")
_WANTED: Final = ("charging", "unmetered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a sensor says.

    Parameters
    ----------
    value : float or None
        In the unit of the condition's setting; 1 for yes and 0 for no; None if it cannot be read.
    text : str
        The same in words, or why it cannot be read.
    """

    value: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether one condition holds.

    Parameters
    ----------
    name : str
        Key of the condition's setting.
    holds : bool
        Whether it allows training.
    is_read : bool
        Whether it could be read.
    value : float or None
        As in `Reading`.
    text : str
        The reading and what is demanded of it.
    """

    name: str
    holds: bool
    is_read: bool
    value: float | None
    text: str

    def to_values(self) -> dict[str, Any]:
        """Return plain values for the status."""
        return {"name": self.name, "holds": self.holds, "value": self.value, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a peer may train.

    Parameters
    ----------
    trains : bool
    since : float
        Time of the change to this, in seconds of the caller's clock.
    findings : tuple of Finding
        One for each condition that is set.
    holding_since : float or None
        Time from which on all conditions have held without a break; None while some do not.
    """

    trains: bool = True
    since: float
    findings: tuple[Finding, ...] = ()
    holding_since: float | None = None

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Conditions that do not hold."""
        return tuple(each for each in self.findings if not each.holds)

    @property
    def unread(self) -> tuple[Finding, ...]:
        """Conditions that cannot be read."""
        return tuple(each for each in self.findings if not each.is_read)


def conditions_of(settings: PolicySettings) -> tuple[str, ...]:
    """Return the names of the conditions that are set."""
    set_ = [name for name in _CHECKED if getattr(settings, name) is not None]
    set_ += [name for name in (*_WANTED, "hours") if getattr(settings, name)]
    return tuple(set_)


def judged(
    settings: PolicySettings, readings: Mapping[str, Reading], moment: datetime, *, trains: bool
) -> tuple[Finding, ...]:
    """Judge each condition that is set.

    Parameters
    ----------
    readings : mapping of str to Reading
        By name of the condition; the hours need none.
    moment : datetime
        Now, in the time zone of the hours.
    trains : bool
        Whether the peer trains; if it waits, limits are stricter by a margin.
    """
    return tuple(_judged(name, settings, readings, moment, trains=trains) for name in conditions_of(settings))


def _judged(
    name: str,
    settings: PolicySettings,
    readings: Mapping[str, Reading],
    moment: datetime,
    *,
    trains: bool,
) -> Finding:
    if name == "hours":
        included = any(parse_hours(each).include(moment) for each in settings.hours)
        text = f"it is {moment:%a %H:%M} (allowed: {', '.join(settings.hours)})"
        return Finding(name=name, holds=included, is_read=True, value=float(included), text=text)
    reading = readings.get(name, Reading(value=None, text="it has not been read yet"))
    value = reading.value
    if value is None:
        text = f"{name} cannot be read: {reading.text}"
        return Finding(name=name, holds=settings.unreadable == "train", is_read=False, value=None, text=text)
    if name in _WANTED or name == "script":
        return Finding(name=name, holds=value == 1.0, is_read=True, value=value, text=reading.text)
    limit = getattr(settings, name)
    margin = 0.0 if trains else _MARGIN
    if name == "battery":
        holds, demand = value >= min(1.0, limit * (1 + margin)), f"at least {limit:.0%}"
    else:
        shown = f"{limit:g} °C" if name == "temperature" else f"{limit:.0%}"
        holds, demand = value <= limit * (1 - margin), f"at most {shown}"
    return Finding(name=name, holds=holds, is_read=True, value=value, text=f"{reading.text} ({demand})")


def decided(before: Decision | None, findings: Iterable[Finding], *, now: float, dwell: float) -> Decision:
    """Decide from what was found, and from the decision before.

    A condition that does not hold stops training at once. Training goes on once all conditions have held for
    ``dwell`` seconds; the first decision waits for nothing.

    Parameters
    ----------
    before : Decision, optional
    now : float
        Seconds of a clock that does not jump.
    dwell : float
        Seconds.
    """
    findings = tuple(findings)
    hold = all(each.holds for each in findings)
    holding_since = None
    if hold:
        holding_since = now if before is None or before.holding_since is None else before.holding_since
    if before is None:
        return Decision(trains=hold, since=now, findings=findings, holding_since=holding_since)
    trains = hold and (before.trains or (holding_since is not None and now - holding_since >= dwell))
    since = before.since if trains == before.trains else now
    return Decision(trains=trains, since=since, findings=findings, holding_since=holding_since)
