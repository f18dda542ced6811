"""The loop of a keyboard's device as lines of text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gossipfl.moments import moment

__all__ = ["loop_lines"]


def loop_lines(keyboard: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each part of the loop, and of what has left today, for people.

    Parameters
    ----------
    keyboard : mapping
        From `gossipfl.peer.device_loop.DeviceLoop.to_values`, perhaps with ``trains``. In a status of an earlier
        version there is no loop.
    """
    if "loop" not in keyboard:
        return []
    loop, condensed, left = keyboard["loop"], keyboard["condensed"], keyboard["left"]
    texts = {part: _done(**done) for part, done in loop.items()}
    if keyboard.get("trains") is False:
        texts["improved"] += "; not now"
    texts["condensed"] = (
        f"{condensed['codec']}, {condensed['bytes']:,} bytes instead of {condensed['whole']:,}"
    )
    if keyboard.get("noisy") is False:
        texts["sent"] += "; without noise: they tell neighbours which words were typed"
    names = {
        "fetched": "models fetched",
        "improved": "model improved",
        "condensed": "model condensed",
        "sent": "models sent",
        "merged": "models merged",
    }
    today = time.strftime("%Y-%m-%d")
    days = ", ".join(
        f"{sent:,} bytes on {day}" for day, sent in list(left["days"].items())[-3:] if day != today
    )
    lines = [(name, texts[part]) for part, name in names.items()]
    return [*lines, ("left today", f"{left['days'].get(today, 0):,} bytes{f' ({days})' if days else ''}")]


def _done(*, count: int, time: float | None, peer: str | None) -> str:
    if time is None:
        return "not yet"
    return f"{count} ×, last {moment(time)}{'' if peer is None else f', {peer}'}"
