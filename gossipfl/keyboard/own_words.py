"""A cache of its owner's words and what follows them: counts alone, so that what is forgotten is gone exactly.

The distribution of the next word is interpolated over lengths of context as by Witten & Bell, "The zero-frequency
problem", IEEE Transactions on Information Theory 37(4), 1991: a context seen N times with T different words after
it gives them N / (N + T), and leaves the rest to the shorter context.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.tasks.words.normalise import LINK, NUMBER, lowered

__all__ = ["LONGEST_CONTEXT", "OwnWords"]

LONGEST_CONTEXT: Final = 2
_START: Final = "<start>"
_NEVER_SUGGESTED: Final = frozenset({NUMBER, LINK, ""})


@dataclass(frozen=True, eq=False)
class OwnWords:
    """What one owner writes.

    Parameters
    ----------
    sentences : sequence of sequence of str
        Words as they were written.

    Examples
    --------
    >>> own = OwnWords([["See", "you", "soon"], ["See", "you", "later"], ["you", "know"]])
    >>> own.words[own.shares(["see", "you"], context=2).argmax()] in ("soon", "later")
    True
    """

    sentences: Sequence[Sequence[str]]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each word was written, in lower case."""
        lower = (lowered(word) for sentence in self.sentences for word in sentence)
        return Counter(word for word in lower if word not in _NEVER_SUGGESTED)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All words, the most frequent first, and then by the alphabet."""
        return tuple(sorted(self.counts, key=lambda word: (-self.counts[word], word)))

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each word among `words`."""
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _alone(self) -> NDArray[np.float64]:
        counts = np.array([self.counts[word] for word in self.words], dtype=np.float64)
        counts /= max(counts.sum(), 1)
        return counts

    @cached_property
    def _following(self) -> dict[tuple[str, ...], Counter[int]]:
        found: defaultdict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
        for sentence in self.sentences:
            line = [_START, *map(lowered, sentence)]
            for place in range(1, len(line)):
                word = self.places.get(line[place])
                if word is not None:
                    for length in range(1, min(LONGEST_CONTEXT, place) + 1):
                        found[tuple(line[place - length : place])][word] += 1
        return dict(found)

    def shares(self, sentence: Iterable[str], *, context: int = LONGEST_CONTEXT) -> NDArray[np.float64]:
        """Share of each of `words` as the next one, float64 ``[n]``; they sum to 1 unless there is none.

        Parameters
        ----------
        sentence : iterable of str
            The words of the sentence so far.
        context : int
            How many of its last words count, with its start: 0 … `LONGEST_CONTEXT`.
        """
        line = [_START, *map(lowered, sentence)]
        found = self._alone.copy()
        for length in range(1, min(context, len(line)) + 1):
            after = self._following.get(tuple(line[-length:]))
            if after is None:
                break
            seen, kinds = after.total(), len(after)
            found *= kinds / (seen + kinds)
            places = np.fromiter(after.keys(), dtype=np.int64, count=kinds)
            found[places] += np.fromiter(after.values(), dtype=np.float64, count=kinds) / (seen + kinds)
        return found
