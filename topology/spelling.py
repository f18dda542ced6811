"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

__all__ = ["closest", "did_you_mean"]

_LEAST_ALIKE = 0.7  # "mode" is no misspelt "codec"
_LONGEST_COMPARED = 200  # comparing takes time quadratic in the length, and a name may come from a file


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that is spelt most like `word`; None if none is close."""
    word = word[:_LONGEST_COMPARED]
    near = get_close_matches(word, list(known))
    return next((each for each in near if _is_alike(word, each)), None)


def _is_alike(word: str, name: str) -> bool:
    begins = name.startswith(word) or word.startswith(name)
    return begins or SequenceMatcher(None, name, word).ratio() >= _LEAST_ALIKE


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a suggestion such as ``Did you mean 'ring'?``, or None if no known name is near.

    Examples
    --------
    >>> did_you_mean("rign", ["ring", "star"])
    "Did you mean 'ring'?"
    """
    near = closest(word, known)
    return None if near is None else f"Did you mean {near!r}?"
