"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest", "did_you_mean"]

_LONGEST_COMPARED = 200  # comparing takes time quadratic in the length, and a name may come from a file


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that is spelt most like `word`; None if none is close."""
    near = get_close_matches(word[:_LONGEST_COMPARED], list(known), n=1)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a suggestion such as ``Did you mean 'ring'?``, or None if no known name is near.

    Examples
    --------
    >>> did_you_mean("rign", ["ring", "star"])
    "Did you mean 'ring'?"
    """
    near = closest(word, known)
    return None if near is None else f"Did you mean {near!r}?"
