"""Quantities as people write them: ``20Mbit``, ``5MB``, ``30ms``."""

from __future__ import annotations

import re

from topology.errors import InvalidParameter

__all__ = ["bits_per_second", "bytes_of", "seconds"]

_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def bits_per_second(text: str) -> float:
    """Read a bandwidth: ``20Mbit``, ``20 Mbit/s``, ``2.5MB/s``; a bare number is bits per second.

    Raises
    ------
    InvalidParameter
        If it cannot be read.
    """
    number, unit = _split(text, "bandwidth", "20Mbit or 2.5MB/s")
    match = re.fullmatch(r"([kMGT]?|[KMG]i)(bit|b|bps|B)?(/s)?", unit)
    if match is None:
        raise _unreadable(text, "bandwidth", "20Mbit or 2.5MB/s")
    return number * _PREFIXES[match[1]] * (8 if match[2] == "B" else 1)


def bytes_of(text: str) -> int:
    """Read a size: ``5MB``, ``650kB``, ``1.2GiB``; a bare number is bytes.

    Raises
    ------
    InvalidParameter
        If it cannot be read.
    """
    number, unit = _split(text, "size", "5MB")
    match = re.fullmatch(r"([kMGT]?|[KMG]i)B?", unit)
    if match is None:
        raise _unreadable(text, "size", "5MB")
    return round(number * _PREFIXES[match[1]])


def seconds(text: str) -> float:
    """Read a duration: ``30ms``, ``1.5s``, ``2min``; a bare number is seconds.

    Raises
    ------
    InvalidParameter
        If it cannot be read.
    """
    number, unit = _split(text, "duration", "30ms")
    if unit and unit not in _TIMES:
        raise _unreadable(text, "duration", "30ms")
    return number * _TIMES.get(unit, 1.0)


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*([0-9][0-9_.]*(?:e[+-]?[0-9]+)?)\s*([A-Za-zµ/]*)\s*", text)
    try:
        return float(match[1]) if match else float("nan"), match[2] if match else "?"
    except ValueError:
        raise _unreadable(text, what, example) from None


def _unreadable(text: str, what: str, example: str) -> InvalidParameter:
    return InvalidParameter(
        f"cannot read the {what} {text!r}", expected=f"a number and a unit, such as {example}"
    )
