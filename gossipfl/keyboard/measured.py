"""Personal models measured as all others are: on what their users wrote later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gossipfl.keyboard.own_words import OwnWords
from gossipfl.keyboard.personal import Shares, adaptation_to, chosen
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks.words.next_word import find_texts, users_with_most
from gossipfl.tasks.words.ngrams import ranks
from gossipfl.tasks.words.normalise import lowered, sentences
from gossipfl.tasks.words.samples import parted
from gossipfl.tasks.words.vocabulary import SPECIAL, Vocabulary

__all__ = ["Foreseen", "Writer", "foreseen", "writer_of"]

_AT_ONCE = 256
_BEFORE = 2  # sentences, of which a context may hold the end


@dataclass(frozen=True)
class Writer:
    """Sentences of one user, as they were written.

    Parameters
    ----------
    past, later : sequence of sequence of str
        What a model is made from, and what it is measured on: parted as the samples of next-word are.
    """

    past: Sequence[Sequence[str]]
    later: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Foreseen:
    """How the words that count were foreseen.

    Parameters
    ----------
    rank : ndarray
        How many words were preferred to each, ``[k]``.
    probability : ndarray
        Of each, ``[k]``.
    """

    rank: NDArray[np.int64]
    probability: NDArray[np.float64]

    @property
    def recall(self) -> float:
        """Top-1 recall."""
        return float((self.rank < 1).mean()) if len(self.rank) else 0.0


def writer_of(text: str, user: str | int, vocabulary: Vocabulary, *, tested: float = 0.2) -> Writer:
    """Sentences of a user; parameters are those of `gossipfl.tasks.words.next_word.next_word`.

    Raises
    ------
    InvalidTask
        If there is no such text or user.
    """
    texts = find_texts(text).of_user
    (name,) = users_with_most(texts, user=user)
    said = [sentence for own in texts[name] for sentence in sentences(own)]
    cut = len(parted([vocabulary.encoded(each) for each in said], tested)[0])
    return Writer(said[:cut], said[cut:])


def foreseen(shared: SharedWords, writer: Writer, *, most: int | None = None) -> Foreseen:
    """Foresee a user's later words with the personal model that a device chooses by their past.

    Parameters
    ----------
    shared : SharedWords
        With a row loaded.
    writer : Writer
    most : int, optional
        Of the later words of the vocabulary only the first so many.
    """
    adaptation = adaptation_to(shared, writer.past)
    mixture = chosen(shared, writer.past, adaptation)
    adapter = adaptation.whole if adaptation and mixture.adapted else None
    shares = Shares(OwnWords(writer.past), shared.vocabulary)
    numbers = shared.vocabulary.numbers
    places = (
        (number, place, numbers[lowered(word)] - len(SPECIAL))
        for number, sentence in enumerate(writer.later)
        for place, word in enumerate(sentence)
        if numbers.get(lowered(word), 0) >= len(SPECIAL)
    )
    known = list(islice(places, most))
    before = [writer.later[number][:place] for number, place, _ in known]
    contexts = [
        shared.context([*writer.later[max(0, number - _BEFORE) : number], sentence])
        for (number, _, _), sentence in zip(known, before, strict=True)
    ]
    rank, probability = [], []
    for start in range(0, len(known), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        by_model = shared.shares_of(contexts[part], adapter)
        for (_, _, word), sentence, own in zip(known[part], before[part], by_model, strict=True):
            found = shares.mixed(own, sentence, mixture)
            rank.append(int(ranks(found[None], np.array([word]))[0]))
            probability.append(float(found[word]))
    return Foreseen(np.array(rank, dtype=np.int64), np.array(probability))
