"""Health of a running peer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gossipfl.settings import PeerSettings

__all__ = ["HARMLESS", "health_of", "patience_before_stalled"]

#: Conditions that are no problem: the operator wants them, or they pass by themselves.
HARMLESS: Final = frozenset({"paused", "policy", "restored", "clock", "quarantine"})
_LEAST_SECONDS: Final = 60.0
_PATIENCES: Final = 10.0


def patience_before_stalled(settings: PeerSettings) -> float:
    """Return the seconds without a change of the model after which learning has stalled."""
    if settings.rounds.algorithm is not None:
        return max(_LEAST_SECONDS, _PATIENCES * settings.rounds.deadline)
    return max(_LEAST_SECONDS, _PATIENCES * settings.exchange.patience)


def health_of(
    conditions: Iterable[Mapping[str, Any]], *, seconds_since_change: float, patience: float
) -> dict[str, Any]:
    """Return whether a peer is healthy, and why not.

    Parameters
    ----------
    conditions : iterable of mapping
        From `Conditions.to_values`.
    seconds_since_change : float
        Time since the model last changed.
    patience : float
        From `patience_before_stalled`.

    Returns
    -------
    dict
        ``healthy``, ``paused``, ``waiting`` (what the policy says, or null), ``problems``: a list of ``name`` and
        ``text``.
    """
    held = {each["name"]: each["text"] for each in conditions}
    paused, waiting = "paused" in held, held.get("policy")
    problems = [{"name": name, "text": text} for name, text in held.items() if name not in HARMLESS]
    if not (paused or waiting) and seconds_since_change > patience:
        stalled = f"the model has not changed for {seconds_since_change:.0f} s"
        problems.append({"name": "stalled", "text": stalled})
    return {"healthy": not problems, "paused": paused, "waiting": waiting, "problems": problems}
