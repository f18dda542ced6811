"""N-gram models of the next word: interpolated Kneser–Ney, the baseline of keyboards before neural ones.

Chen & Goodman, "An empirical study of smoothing techniques for language modeling", 1999, Section 3: at the
highest order ``p(w | c) = max(n(c w) − D, 0) / n(c) + D N₁₊(c ·) / n(c) · p(w | c')``, where c' is c without its
first word; below it, counts n are of different words before. D is ``n₁ / (n₁ + 2 n₂)`` of each order, from how
many n-grams come once and twice; the lowest order is uniform.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gossipfl.tasks.words.samples import Windows

__all__ = ["KneserNey", "ranks"]

Context = tuple[int, ...]


@dataclass(frozen=True)
class _Followers:
    """What followed one context: words, with their discounted shares, and what is left for lower orders."""

    words: NDArray[np.int64]
    shares: NDArray[np.float64]
    left: float


@dataclass(frozen=True)
class KneserNey:
    """An n-gram model; made by `of`.

    Parameters
    ----------
    words : int
        In the vocabulary.
    order : int
        Longest n-gram: 1 counts words, 2 looks at one word before.
    """

    words: int
    order: int
    _followers: tuple[Mapping[Context, _Followers], ...] = field(repr=False)

    @classmethod
    def of(cls, windows: Windows, *, words: int, order: int) -> KneserNey:
        """Count the n-grams of windows.

        Parameters
        ----------
        windows : Windows
        words : int
            In the vocabulary, with the special ones.
        order : int
            At least 1.
        """
        counts = _counts(windows, order)
        adjusted = list(counts)
        for lower in range(order - 1):  # of different words before, and not of occurrences
            adjusted[lower] = Counter(ngram[1:] for ngram in counts[lower + 1])
        return cls(words, order, tuple(_discounted(each) for each in adjusted))

    def probabilities(self, context: Context) -> NDArray[np.float64]:
        """Probabilities of all words after some.

        Parameters
        ----------
        context : tuple of int
            Words before, the last one last; as many as there are.

        Returns
        -------
        ndarray
            Shape ``[words]``, float64, of sum 1.
        """
        found = np.full(self.words, 1 / self.words)
        for length in range(min(self.order - 1, len(context)) + 1):
            followers = self._followers[length].get(context[len(context) - length :])
            if followers is not None:
                found *= followers.left
                found[followers.words] += followers.shares
        return found

    def of_windows(self, windows: Windows) -> NDArray[np.float64]:
        """Probabilities at each place where a word counts, ``[k, words]``, in the order of the windows."""
        found = np.empty((int((windows.following >= 0).sum()), self.words))
        known: dict[Context, NDArray[np.float64]] = {}
        for row, (window, place) in enumerate(np.argwhere(windows.following >= 0)):
            context = tuple(windows.words[window, max(0, place - self.order + 2) : place + 1].tolist())
            context = context if self.order > 1 else ()
            if context not in known:
                known[context] = self.probabilities(context)
            found[row] = known[context]
        return found


def ranks(scores: NDArray[np.floating], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many words are preferred to the wanted one: with higher scores, or equal ones and before it.

    Parameters
    ----------
    scores : ndarray
        Shape ``[k, words]``.
    wanted : ndarray
        Shape ``[k]``.
    """
    own = scores[np.arange(len(wanted)), wanted][:, None]
    before = np.arange(scores.shape[1]) < wanted[:, None]
    result: NDArray[np.int64] = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return result


def _counts(windows: Windows, order: int) -> list[Counter[Context]]:
    """N-grams of each length, whose last word is one that counts; contexts end where windows begin."""
    counts: list[Counter[Context]] = [Counter() for _ in range(order)]
    for words, following in zip(windows.words.tolist(), windows.following.tolist(), strict=True):
        for place, word in enumerate(following):
            if word >= 0:
                for length in range(min(order, place + 2)):
                    counts[length][(*words[place + 1 - length : place + 1], word)] += 1
    return counts


def _discounted(counts: Counter[Context]) -> dict[Context, _Followers]:
    once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.5
    following: defaultdict[Context, list[tuple[int, int]]] = defaultdict(list)
    for ngram, count in counts.items():
        following[ngram[:-1]].append((ngram[-1], count))
    found = {}
    for context, pairs in following.items():
        words, numbers = (np.array(part) for part in zip(*sorted(pairs), strict=True))
        shares = np.maximum(numbers - discount, 0) / numbers.sum()
        found[context] = _Followers(words, shares, 1 - float(shares.sum()))
    return found
