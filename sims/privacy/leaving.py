"""Changes of rows as they leave recorded peers: noise, and what is not linear."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from gossipfl.settings.outgoing import CodecSettings, NoiseSettings, OutgoingSettings

__all__ = ["changes_in", "deviation_of"]


def deviation_of(outgoing: Sequence[OutgoingSettings]) -> float:
    """Deviation of all noise on a row together."""
    return math.hypot(*(each.deviation for each in outgoing if isinstance(each, NoiseSettings)))


def changes_in(outgoing: Sequence[OutgoingSettings], codec: str, rounding: Collection[str]) -> list[str]:
    """Names of what changes rows and is not linear: all but noise, and codecs that round."""
    changed = []
    for each in outgoing:
        if isinstance(each, CodecSettings):
            changed += [] if each.name in rounding else [each.name]
        elif not isinstance(each, NoiseSettings):
            changed.append(each.kind)
    return changed if codec in rounding else [*changed, codec]
