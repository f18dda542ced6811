"""Messages and bytes of a masked sum beside the masked rows, counted without carrying it out."""

from __future__ import annotations

from dataclasses import dataclass

from gossipfl.secure.keys import SIGNATURE_BYTES
from gossipfl.secure.masks import KEY_BYTES
from gossipfl.secure.messages import (
    COMMITMENT_BYTES,
    KEYS_DIGEST_BYTES,
    SEALED_BYTES,
    SECRET_BYTES,
    SET_BYTES,
)
from gossipfl.secure.session import threshold_of

__all__ = ["Cost", "cost_of"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Messages of a masked sum besides its rows, questions and answers alike, and the bytes of their contents."""

    messages: int
    bytes: int


def cost_of(neighbours: int, *, survivors: int) -> Cost:
    """Count what the sum of a receiver costs, once keys are known.

    Parameters
    ----------
    neighbours : int
        How many the receiver has; all share their secrets.
    survivors : int
        How many of them send their rows, and stay until the end. If they are fewer than the threshold, the sum
        ends before their list is told.

    Raises
    ------
    SummandsExposed
        There are fewer than 3 neighbours, or too many.
    """
    threshold, others = threshold_of(neighbours), neighbours - 1
    shared = SET_BYTES + KEYS_DIGEST_BYTES + KEY_BYTES + COMMITMENT_BYTES + 1 + others * SEALED_BYTES
    listed = SET_BYTES + others * (KEY_BYTES + SEALED_BYTES)
    begun = Cost(messages=4 * neighbours, bytes=neighbours * (shared + listed))
    if survivors < threshold:
        return begun
    confirmed = SET_BYTES + SIGNATURE_BYTES
    revealed = SET_BYTES + threshold * SIGNATURE_BYTES + 1 + neighbours * SECRET_BYTES
    return Cost(
        messages=begun.messages + 4 * survivors, bytes=begun.bytes + survivors * (confirmed + revealed)
    )
