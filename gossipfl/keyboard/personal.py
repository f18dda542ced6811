"""A personal model: the shared one, adapted to its owner and mixed with the owner's words, as far as that helps.

Whether an adapter of the model's head is used, how much the owner's words weigh, and how many words of context
count, is chosen on the last part of the owner's own text, by how often the word written was among three
suggestions. With weight 0 and no adapter it is the shared model, so that on this part it is never worse. The
adapter that is tried there was fitted to what came before; the one that is used, to all. The personal model never
leaves the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.keyboard.adapter import Adapter
from gossipfl.keyboard.own_words import LONGEST_CONTEXT, OwnWords
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks.words.normalise import LINK, NUMBER, lowered
from gossipfl.tasks.words.vocabulary import SPECIAL, Vocabulary

__all__ = ["Adaptation", "Mixture", "Shares", "adaptation_to", "chosen"]

Sentences = Sequence[Sequence[str]]

_WEIGHTS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_HELD_OUT: Final = 0.2
_FEWEST, _MOST = 20, 300
"""Words held out: with fewer nothing is chosen, and of more the last ones count."""
_SUGGESTIONS: Final = 3
_FEWEST_ADAPTED: Final = 200
"""Words before those held out: of fewer no adapter is made."""


@dataclass(frozen=True, eq=False)
class Adaptation:
    """Adapters of a shared model to its owner.

    Parameters
    ----------
    tried : Adapter
        Fitted to all but the last part of the owner's text, on which it is then tried.
    whole : Adapter
        Fitted to all of it, to be used if the other one helps.
    """

    tried: Adapter
    whole: Adapter


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
    adapted : bool
        Whether the shared model's head is adapted to the owner.
    """

    weight: float = 0.0
    context: int = LONGEST_CONTEXT
    words: int = 0
    shared: float = 0.0
    personal: float = 0.0
    adapted: bool = False


class Shares:
    """Shares of the next word, of the vocabulary's words and then of the owner's others.

    Parameters
    ----------
    own : OwnWords
    vocabulary : Vocabulary

    Attributes
    ----------
    own_places : ndarray
        Place of each of the owner's words among `words`.
    """

    def __init__(self, own: OwnWords, vocabulary: Vocabulary) -> None:
        self.own = own
        self.known = vocabulary.words
        numbers = vocabulary.numbers
        self.unknown = tuple(word for word in own.words if word not in numbers)
        beyond = {word: len(self.known) + place for place, word in enumerate(self.unknown)}
        self.own_places = np.array(
            [beyond[word] if word in beyond else numbers[word] - len(SPECIAL) for word in own.words],
            dtype=np.int64,
        )
        self.places = {word: int(place) for word, place in zip(own.words, self.own_places, strict=True)}

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
        if mixture.weight and len(self.own_places):
            found[self.own_places] += mixture.weight * self.own.shares(sentence, context=mixture.context)
        return found


def adaptation_to(shared: SharedWords, sentences: Sentences) -> Adaptation | None:
    """Fit adapters to what an owner wrote; None if that is too little.

    Parameters
    ----------
    shared : SharedWords
        With a row loaded.
    sentences : sequence of sequence of str
        Words as they were written, the earliest sentence first.
    """
    past, later = _parted(sentences)
    if sum(map(len, past)) < _FEWEST_ADAPTED or not later:
        return None
    return Adaptation(tried=shared.fit(past), whole=shared.fit(sentences))


def chosen(shared: SharedWords, sentences: Sentences, adaptation: Adaptation | None = None) -> Mixture:
    """Choose how a model is made an owner's, by the last part of what the owner wrote.

    Parameters
    ----------
    shared : SharedWords
        With a row loaded.
    sentences : sequence of sequence of str
        Words as they were written, the earliest sentence first.
    adaptation : Adaptation, optional
        Which may be used. It may have been made of the first of these sentences only.
    """
    past, later = _parted(sentences)
    tried = [
        (sentence[:place], lowered(word))
        for sentence in later
        for place, word in enumerate(sentence)
        if lowered(word) not in ("", NUMBER, LINK)
    ][-_MOST:]
    if len(tried) < _FEWEST or not past:
        return Mixture()
    before, words = zip(*tried, strict=True)
    contexts = [shared.context([sentence]) for sentence in before]
    shares = Shares(OwnWords(past), shared.vocabulary)
    wide = np.zeros((2 if adaptation else 1, len(words), len(shares.words)))
    for place, adapter in enumerate([None, *([adaptation.tried] if adaptation else [])]):
        by_model = shared.shares_of(contexts, adapter)
        wide[place, :, : by_model.shape[1]] = by_model
    own = np.zeros_like(wide[0])
    places = np.array([_place(shares, shared.vocabulary, word) for word in words])
    alone = _recall(wide[0], places)
    best = Mixture(words=len(words), shared=alone, personal=alone)

    def try_out(weight: float, context: int) -> Iterator[Mixture]:
        for adapted, by_model in enumerate(wide):
            found = _recall((1 - weight) * by_model + weight * own, places)
            yield Mixture(weight, context, len(words), alone, found, bool(adapted))

    for context in range(LONGEST_CONTEXT + 1):
        for row, sentence in zip(own, before, strict=True):
            row[shares.own_places] = shares.own.shares(sentence, context=context)
        for weight in (0.0, *_WEIGHTS):
            best = max(
                best, *try_out(weight, context), key=lambda each: each.personal
            )  # the first of the best
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


def _place(shares: Shares, vocabulary: Vocabulary, word: str) -> int:
    """Place of a word; -1 if nobody could suggest it."""
    number = vocabulary.numbers.get(word)
    return shares.places.get(word, -1) if number is None else number - len(SPECIAL)


def _recall(found: NDArray[np.float64], places: NDArray[np.int64]) -> float:
    """Share of the words at these places that are among three suggestions."""
    own = np.where(places >= 0, found[np.arange(len(found)), places], 0.0)
    preferred = (found > own[:, None]).sum(axis=1)
    return float(((own > 0) & (preferred < _SUGGESTIONS)).mean())
