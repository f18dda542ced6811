"""Selection of statements that fit into one message."""

from __future__ import annotations

import random
from typing import Final

from gossipfl.membership import Authority, Signed

__all__ = ["MOST_STATEMENTS", "some_of"]

MOST_STATEMENTS: Final = 60
_MOST_BYTES: Final = 48 * 1024


def some_of(authority: Authority, *, now: float) -> list[Signed]:
    """Return everything that others can verify about a network or, if that is too much, a random selection."""
    lasting = [*authority.charter_statements, *authority.revocations]
    others = [each for each in lasting if authority.is_verifiable(each, now=now)]
    random.shuffle(others)
    chosen: list[Signed] = []
    size = 0
    for each in (*authority.rotations, *others):
        size += len(each.to_bytes()) + 8
        if size > _MOST_BYTES or len(chosen) == MOST_STATEMENTS:
            break
        chosen.append(each)
    return chosen
