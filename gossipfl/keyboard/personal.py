"""A personal model: the shared one, interpolated with its owner's words as far as that helps the owner.

How much the owner's words weigh, and how many words of context count, is chosen on the last part of the owner's
own text, by how often the word written was among three suggestions. With weight 0 it is the shared model, so that
on this part it is never worse. The personal model never leaves the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.keyboard.own_words import LONGEST_CONTEXT, OwnWords
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks.words.normalise import LINK, NUMBER, lowered
from gossipfl.tasks.words.vocabulary import SPECIAL, Vocabulary

__all__ = ["Mixture", "Shares", "chosen"]

Sentences = Sequence[Sequence[str]]

_WEIGHTS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_HELD_OUT: Final = 0.2
_FEWEST, _MOST = 20, 300
"""Words held out: with fewer nothing is chosen, and of more the last ones count."""
_SUGGESTIONS: Final = 3


@dataclass(frozen=True)
class Mixture:
    """How the owner's words are mixed in.

    Parameters
    ----------
    weight : float
        Of the owner's words, 0 … 1.
    context : int
        How many words of context count among them.
    words : int
        How many held-out words it was chosen by; 0 if there were too few.
    shared, personal : float
        Share of these that were among three suggestions: of the shared model, and of this mixture.
    """

    weight: float = 0.0
    context: int = LONGEST_CONTEXT
    words: int = 0
    shared: float = 0.0
    personal: float = 0.0


class Shares:
    """Shares of the next word, of the vocabulary's words and then of the owner's others.

    Parameters
    ----------
    own : OwnWords
    vocabulary : Vocabulary
    """

    def __init__(self, own: OwnWords, vocabulary: Vocabulary) -> None:
        self.own = own
        self.known = vocabulary.words
        numbers = vocabulary.numbers
        self.unknown = tuple(word for word in own.words if word not in numbers)
        beyond = {word: len(self.known) + place for place, word in enumerate(self.unknown)}
        self._places = np.array(
            [beyond[word] if word in beyond else numbers[word] - len(SPECIAL) for word in own.words],
            dtype=np.int64,
        )
        self.places = {word: int(place) for word, place in zip(own.words, self._places, strict=True)}

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words, in lower case."""
        return (*self.known, *self.unknown)

    def mixed(
        self, shared: NDArray[np.float64], sentence: Sequence[str], mixture: Mixture
    ) -> NDArray[np.float64]:
        """Shares of `words`, float64: those of the shared model and the owner's, interpolated.

        Parameters
        ----------
        shared : ndarray
            Shares of the vocabulary's words, ``[words]``.
        sentence : sequence of str
            The words of the sentence so far.
        """
        found = np.zeros(len(self.known) + len(self.unknown))
        found[: len(shared)] = (1 - mixture.weight) * shared
        if mixture.weight and len(self._places):
            found[self._places] += mixture.weight * self.own.shares(sentence, context=mixture.context)
        return found


def chosen(shared: SharedWords, sentences: Sentences) -> Mixture:
    """Choose how an owner's words are mixed in, by the last part of what the owner wrote.

    Parameters
    ----------
    shared : SharedWords
        With a row loaded.
    sentences : sequence of sequence of str
        Words as they were written, the earliest sentence first.
    """
    past, later = _parted(sentences)
    places = [(number, place) for number, sentence in enumerate(later) for place in range(len(sentence))]
    wanted = [lowered(later[number][place]) for number, place in places]
    tried = [at for at, word in enumerate(wanted) if word and word not in (NUMBER, LINK)][-_MOST:]
    if len(tried) < _FEWEST or not past:
        return Mixture()
    before = [later[number][:place] for number, place in (places[at] for at in tried)]
    words = [wanted[at] for at in tried]
    by_model = shared.shares_of([shared.context([sentence]) for sentence in before])
    shares = Shares(OwnWords(past), shared.vocabulary)

    def recall(mixture: Mixture) -> float:
        hits = (
            _is_suggested(shares.mixed(row, sentence, mixture), _place(shares, shared.vocabulary, word))
            for row, sentence, word in zip(by_model, before, words, strict=True)
        )
        return sum(hits) / len(words)

    alone = recall(Mixture())
    best = Mixture(words=len(words), shared=alone, personal=alone)
    for context in range(LONGEST_CONTEXT + 1):
        for weight in _WEIGHTS:
            found = recall(Mixture(weight, context))
            if found > best.personal:
                best = Mixture(weight, context, len(words), alone, found)
    return best


def _parted(sentences: Sentences) -> tuple[Sentences, Sentences]:
    """Earlier and later sentences: the later have about a fifth of the words."""
    wanted = (1 - _HELD_OUT) * sum(map(len, sentences))
    words = 0
    for place, sentence in enumerate(sentences):
        words += len(sentence)
        if words > wanted:
            return sentences[:place], sentences[place:]
    return sentences, []


def _place(shares: Shares, vocabulary: Vocabulary, word: str) -> int | None:
    number = vocabulary.numbers.get(word)
    return shares.places.get(word) if number is None else number - len(SPECIAL)


def _is_suggested(found: NDArray[np.float64], place: int | None) -> bool:
    return place is not None and found[place] > 0 and int((found > found[place]).sum()) < _SUGGESTIONS
