"""Case of suggested words: as their user writes them, and capital letters where sentences start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gossipfl.tasks.words.normalise import lowered

__all__ = ["own_spellings", "restored"]

_ENGLISH_I = ("i", "i'm", "i'll", "i've", "i'd")


def own_spellings(sentences: Iterable[Sequence[str]]) -> dict[str, str]:
    """How a user writes words inside sentences, where it is mostly not in lower case: names, above all.

    It is learned from the user's own text, and stays with them.

    Parameters
    ----------
    sentences : iterable of sequence of str
        Words as they were written.

    Examples
    --------
    >>> own_spellings([["The", "rain", "in", "Spain"], ["Is", "Spain", "dry"]])
    {'spain': 'Spain'}
    """
    counts: dict[str, Counter[str]] = {}
    for sentence in sentences:
        for word in sentence[1:]:
            counts.setdefault(lowered(word), Counter())[word] += 1
    mostly = {key: max(found, key=lambda word: (found[word], word)) for key, found in counts.items()}
    return {key: word for key, word in mostly.items() if key and word != key}


def restored(word: str, *, starts: bool, own: Mapping[str, str] | None = None) -> str:
    """Write a word of a vocabulary as a person would.

    Parameters
    ----------
    word : str
        In lower case.
    starts : bool
        Whether a sentence starts with it.
    own : mapping of str to str, optional
        Of `own_spellings`.

    Examples
    --------
    >>> restored("i'll", starts=False), restored("yes", starts=True)
    ("I'll", 'Yes')
    """
    spelt = (own or {}).get(word, word)
    if starts or word in _ENGLISH_I:
        return spelt[:1].upper() + spelt[1:]
    return spelt
