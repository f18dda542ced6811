"""Three suggestions for what stands before a cursor, from the shared model and its owner's words."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.keyboard.adapter import Adapter
from gossipfl.keyboard.own_words import OwnWords
from gossipfl.keyboard.personal import Mixture, Shares
from gossipfl.keyboard.reading import Cursor, at_cursor
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks.words.casing import own_spellings, restored
from gossipfl.tasks.words.normalise import lowered
from gossipfl.tasks.words.vocabulary import Vocabulary

__all__ = ["SUGGESTIONS", "Suggester"]

SUGGESTIONS: Final = 3
_LEAST_WEIGHT: Final = 0.1
"""Of the owner's words while one is typed: those that the vocabulary lacks are completed in any case."""


@dataclass(frozen=True, eq=False)
class Suggester:
    """Suggestions from one state of the owner's words.

    Parameters
    ----------
    vocabulary : Vocabulary
    sentences : sequence of sequence of str
        What the owner wrote, the earliest first, as it was written.
    mixture : Mixture, optional
        How the owner's words are mixed in.
    adapter : Adapter, optional
        Of the shared model's head.
    """

    vocabulary: Vocabulary = field(repr=False)
    sentences: Sequence[Sequence[str]] = field(default=(), repr=False)
    mixture: Mixture = field(default_factory=Mixture)
    adapter: Adapter | None = field(default=None, repr=False)

    @cached_property
    def own(self) -> OwnWords:
        """The owner's words."""
        return OwnWords(self.sentences)

    @cached_property
    def _shares(self) -> Shares:
        return Shares(self.own, self.vocabulary)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return own_spellings(self.sentences)

    @cached_property
    def _by_alphabet(self) -> tuple[list[str], NDArray[np.int64]]:
        words = self._shares.words
        order = sorted(range(len(words)), key=words.__getitem__)
        return [words[place] for place in order], np.array(order, dtype=np.int64)

    def prepare(self) -> Suggester:
        """Compute all that suggestions need of the owner's words, in the thread that calls it."""
        _ = self._by_alphabet, self._spellings, self.own.shares(())
        return self

    def suggest(self, text: str, shared: SharedWords) -> list[str]:
        """Suggest up to three words for what stands before the cursor, the likeliest first.

        Parameters
        ----------
        text : str
            All that stands before the cursor, or the end of it.
        shared : SharedWords
            With a row loaded.
        """
        cursor = at_cursor(text)
        if not cursor.may_suggest:
            return []
        mixture = self.mixture
        if cursor.partial:
            mixture = replace(mixture, weight=max(mixture.weight, _LEAST_WEIGHT))
        by_model = shared.shares(shared.context(cursor.sentences), self.adapter)
        found = self._shares.mixed(by_model, cursor.sentence, mixture)
        places = self._completing(cursor.partial)
        best = places[np.argsort(-found[places], kind="stable")[: SUGGESTIONS + 1]]
        words = [self._shares.words[place] for place in best if found[place] > 0]
        written = (self._written(word, cursor) for word in words)
        return [word for word in written if word != cursor.partial][:SUGGESTIONS]

    def _completing(self, partial: str) -> NDArray[np.int64]:
        """Places of the words that begin with what was typed of one."""
        words, places = self._by_alphabet
        prefix = lowered(partial)
        if not prefix:
            return np.arange(0 if partial else len(words))
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return places[bisect_left(words, prefix) : bisect_left(words, end)]

    def _written(self, word: str, cursor: Cursor) -> str:
        written = restored(word, starts=not cursor.sentence and not cursor.partial, own=self._spellings)
        partial = cursor.partial
        if len(partial) > 1 and partial.isupper():
            return written.upper()
        return written[:1].upper() + written[1:] if partial[:1].isupper() else written
