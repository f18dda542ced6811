"""Quantities as people write them: ``20Mbit``, ``5MB``, ``30ms``."""

from __future__ import annotations

import re

from topology.errors import InvalidParameter

__all__ = ["bits_per_second", "bytes_of", "seconds"]

_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_PREFIX = "[kMGT]?|[KMG]i"
_TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def bits_per_second(text: str) -> float:
    """Read a bandwidth: ``20Mbit``, ``20 Mbit/s``, ``2.5MB/s``; a bare number is bits per second.

    Raises
    ------
    InvalidParameter
        If it cannot be read.
    """
    pattern = rf"(?P<prefix>{_PREFIX})(?P<unit>bit|b|bps|B)?(/s)?"
    number, parts = _read(text, pattern, what="bandwidth", example="20Mbit or 2.5MB/s")
    return number * _PREFIXES[parts["prefix"]] * (8 if parts["unit"] == "B" else 1)


def bytes_of(text: str) -> int:
    """Read a size: ``5MB``, ``650kB``, ``1.2GiB``; a bare number is bytes.

    Raises
    ------
    InvalidParameter
        If it cannot be read.
    """
    number, parts = _read(text, rf"(?P<prefix>{_PREFIX})B?", what="size", example="5MB")
    return round(number * _PREFIXES[parts["prefix"]])


def seconds(text: str) -> float:
    """Read a duration: ``30ms``, ``1.5s``, ``2min``; a bare number is seconds.

    Raises
    ------
    InvalidParameter
        If it cannot be read.
    """
    number, parts = _read(text, rf"(?P<unit>{'|'.join(_TIMES)})?", what="duration", example="30ms")
    return number * _TIMES[parts["unit"] or "s"]


def _read(text: str, unit: str, *, what: str, example: str) -> tuple[float, re.Match[str]]:
    match = re.fullmatch(rf"\s*(?P<number>[0-9][0-9_.]*(?:e[+-]?[0-9]+)?)\s*{unit}\s*", text)
    try:
        if match is not None:
            return float(match["number"]), match
    except ValueError:
        pass
    raise InvalidParameter(
        f"cannot read the {what} {text!r}", expected=f"a number and a unit, such as {example}"
    )
