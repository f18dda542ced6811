"""Samples of a person's texts: windows of words and those that follow, trained on the past, tested on the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import InvalidTask
from gossipfl.tasks.words.normalise import sentences
from gossipfl.tasks.words.vocabulary import PAD, SPECIAL, START, Vocabulary

__all__ = ["IGNORED", "Windows", "parted", "windows_of_sentences", "windows_of_users"]

IGNORED = -100
"""Stands for words that nobody is to suggest: unknown ones, numbers, links, and the starts of sentences."""


@dataclass(frozen=True)
class Windows:
    """Words of one user, and after each the word that followed.

    Parameters
    ----------
    words, following : ndarray
        Shape ``[n, length]``, int64; ``following`` is `IGNORED` where nothing is to be suggested.
    """

    words: NDArray[np.int64]
    following: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.words)

    def first(self, most: int | None) -> Windows:
        """The first windows, at most so many."""
        return Windows(self.words[:most], self.following[:most])

    def last(self, most: int | None) -> Windows:
        """The last windows, at most so many."""
        start = 0 if most is None else max(0, len(self) - most)
        return Windows(self.words[start:], self.following[start:])

    def without_repeats(self, most: int | None) -> Windows:
        """The windows in which no three words in a row are learned more than so many times.

        From then on the third word is context, and nothing to suggest. What one user writes again and again then
        weighs little in a model of many; it takes others who write it, too, until it is suggested to everybody.
        """
        if most is None:
            return self
        words, following = self.words.reshape(-1), self.following.reshape(-1).copy()
        before = np.concatenate([[PAD], words[:-1]])
        runs = np.stack([before, words, following], axis=1)
        _, which = np.unique(runs, axis=0, return_inverse=True)
        which = which.reshape(-1)
        order = np.argsort(which, kind="stable")
        first = np.searchsorted(which[order], which[order])
        rank = np.empty_like(which)
        rank[order] = np.arange(len(which)) - first
        following[rank >= most] = IGNORED
        return Windows(self.words, following.reshape(self.following.shape))


def windows_of_sentences(sentences: Iterable[Sequence[int]], *, length: int) -> Windows:
    """Cut sentences, one after another, into windows.

    Parameters
    ----------
    sentences : iterable of sequence of int
        Numbers of words.
    length : int
        Of a window, at least 1; the last one is padded.
    """
    stream = [START]
    for sentence in sentences:
        stream.extend(sentence)
        stream.append(START)
    count = -(-(len(stream) - 1) // length)
    padded = np.full(count * length + 1, PAD, dtype=np.int64)
    padded[: len(stream)] = stream
    following = padded[1:].copy()
    following[following < len(SPECIAL)] = IGNORED
    shape = (count, length)
    return Windows(padded[:-1].reshape(shape), following.reshape(shape))


def windows_of_users(
    texts: Mapping[str, Sequence[str]], vocabulary: Vocabulary, *, length: int, tested: float
) -> dict[str, tuple[Windows, Windows]]:
    """Split each user's sentences in the order of time, and cut them into windows.

    Parameters
    ----------
    texts : mapping of str to sequence of str
        The earliest first.
    vocabulary : Vocabulary
    length : int
        Of windows, in words.
    tested : float
        Share of each user's words, the last ones, to test on; whole sentences.

    Returns
    -------
    dict of str to pair of Windows
        To train and to test on. Users with fewer than two windows of known words are left out.

    Raises
    ------
    InvalidTask
        If nobody is left.
    """
    found, single, known = {}, 0, False
    for user, own in texts.items():
        said = [vocabulary.encoded(sentence) for text in own for sentence in sentences(text)]
        single += len(said) == 1
        known = known or any(number >= len(SPECIAL) for sentence in said for number in sentence)
        past, later = parted(said, tested)
        parts = windows_of_sentences(past, length=length), windows_of_sentences(later, length=length)
        if all((part.following != IGNORED).any() for part in parts):
            found[user] = parts
    if not found:
        raise InvalidTask(
            "no user has texts enough to train and to test on",
            expected="at least two sentences with words of the vocabulary",
            got=f"{len(texts)} {'user' if len(texts) == 1 else 'users'} with less"
            + (f", {single} of a single sentence" if single else ""),
            remedy=(
                "End sentences with full stops or empty lines, or give more text."
                if known
                else "Give a vocabulary of its language; words without spaces between them are not split."
            ),
        )
    return found


def parted(said: list[list[int]], tested: float) -> tuple[list[list[int]], list[list[int]]]:
    """Earlier and later sentences: the later have at most the share of words, and at least one sentence."""
    before = list(accumulate(len(sentence) for sentence in said))
    wanted = (before[-1] if before else 0) * (1 - tested)
    cut = next((place for place, words in enumerate(before, 1) if words >= wanted), len(said))
    cut = min(cut, len(said) - 1)
    return said[: max(cut, 0)], said[max(cut, 0) :]
