"""Changes of rows as they leave nodes: noise, what is done to it afterwards, and what is not linear."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gossipfl.settings.outgoing import ClipSettings, CodecSettings, NoiseSettings, OutgoingSettings

__all__ = ["ROUNDING", "Leaving", "changes_in", "deviation_of", "leaving_of", "without_rounding"]

ROUNDING = {"float32", "bfloat16", "float16", "int8"}
"""Codecs that round: what they leave out is not counted as protection."""

_IN_FULL = ("", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Rows as they leave.

    Parameters
    ----------
    deviation : float
        Of all noise that nothing but a mask comes before.
    row_shift : float
        μ of one row, whatever it was computed from: 2C/σ for noise that comes after a clip; infinite without one.
    masked : bool
        Whether only some of the numbers leave.
    changes : tuple of str
        Names of what is not linear, or not the same for each number.
    """

    deviation: float
    row_shift: float
    masked: bool
    changes: tuple[str, ...]


def leaving_of(
    outgoing: Sequence[OutgoingSettings], codec: str, *, rounding: Collection[str] = _IN_FULL
) -> Leaving:
    """Read tables ``[[outgoing]]`` and the name of the codec, "" for none; some of them hide nothing."""
    norm, since, first, shift = math.inf, 0.0, 0.0, math.inf
    clipped = False
    for each in outgoing:
        if isinstance(each, ClipSettings):
            norm, since, clipped = min(norm, each.norm), 0.0, True
        elif isinstance(each, NoiseSettings):
            since = math.hypot(since, each.deviation)
            first = first if clipped else since
            shift = min(shift, 2 * norm / since)
    changes = tuple(changes_in(outgoing, codec, rounding))
    masked = any(each.kind == "mask" for each in outgoing)
    return Leaving(deviation=first, row_shift=shift, masked=masked, changes=changes)


def deviation_of(outgoing: Sequence[OutgoingSettings]) -> float:
    """Deviation of all noise on a row together."""
    return math.hypot(*(each.deviation for each in outgoing if isinstance(each, NoiseSettings)))


def changes_in(outgoing: Sequence[OutgoingSettings], codec: str, rounding: Collection[str]) -> list[str]:
    """Names of what changes rows and is not linear: all but noise, and codecs that round."""
    changed = []
    for each in outgoing:
        if isinstance(each, CodecSettings):
            changed += without_rounding([each.name], rounding)
        elif not isinstance(each, NoiseSettings):
            changed.append(each.kind)
    return [*changed, *without_rounding([codec], rounding)]


def without_rounding(codecs: Collection[str], rounding: Collection[str]) -> list[str]:
    """Names of the codecs that do more than round; ``int8:256`` counts as ``int8``."""
    return sorted(codec for codec in codecs if codec.partition(":")[0] not in rounding)
