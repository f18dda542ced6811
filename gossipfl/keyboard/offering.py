"""Words of a keyboard's owner, counted: what may be offered to others under masks and noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gossipfl.tasks.words.normalise import sentences

__all__ = ["uses_of", "words_of"]


def words_of(text: str) -> list[str]:
    """Return the words of a text as they were written, without numbers and links."""
    return [word for sentence in sentences(text) for word in sentence if not word.startswith("<")]


def uses_of(texts: Iterable[str]) -> Counter[str]:
    """Count the words of texts."""
    return Counter(word for text in texts for word in words_of(text))
