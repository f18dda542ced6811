"""Vocabularies: which words a model knows, common to all peers without anybody's text being seen."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gossipfl.errors import InvalidTask
from gossipfl.extras import is_installed, missing_library
from gossipfl.tasks.words.normalise import LINK, NUMBER, lowered, sentences
from topology.spelling import did_you_mean

__all__ = [
    "PAD",
    "SPECIAL",
    "START",
    "UNKNOWN",
    "Vocabulary",
    "frequent_words",
    "vocabulary_of_language",
    "vocabulary_of_texts",
]

SPECIAL = ("<pad>", "<start>", "<unknown>", NUMBER, LINK)
"""What the first numbers stand for; none of these is ever suggested, nor counted."""
PAD, START, UNKNOWN = 0, 1, 2

_LARGEST_FILE = 2**25  # bytes
_LARGEST = 2**20


@dataclass(frozen=True)
class Vocabulary:
    """Words by number: the special ones first, then the most frequent.

    Parameters
    ----------
    words : tuple of str
        In lower case, the most frequent first, without `SPECIAL`.

    Raises
    ------
    InvalidTask
        If a word comes twice, is not one word in lower case, or there is none.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words or len(self.words) > _LARGEST:
            raise InvalidTask(
                "a vocabulary has a wrong size", expected=f"1 … {_LARGEST} words", got=len(self.words)
            )
        for word in self.words:
            if sentences(word) != [[word]] or lowered(word) != word:
                raise InvalidTask(
                    "a vocabulary holds what is not one word",
                    expected="words in lower case, of letters and apostrophes inside",
                    got=repr(word)[:80],
                )
        if len(set(self.words)) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InvalidTask("a vocabulary holds a word twice", got=repr(twice))

    def __len__(self) -> int:
        return len(SPECIAL) + len(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each word, and of ``<number>`` and ``<link>``."""
        found = {word: number for number, word in enumerate(self.words, len(SPECIAL))}
        return found | {word: number for number, word in enumerate(SPECIAL) if word in (NUMBER, LINK)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the words in their order, in hexadecimal digits: what peers must have in common."""
        return hashlib.sha256("\n".join((*SPECIAL, *self.words)).encode()).hexdigest()

    def encoded(self, sentence: Sequence[str]) -> list[int]:
        """Numbers of a sentence's words, `UNKNOWN` for those it lacks."""
        known = self.numbers
        return [known.get(lowered(word), UNKNOWN) for word in sentence]

    def word(self, number: int) -> str:
        """Word of a number."""
        return (SPECIAL + self.words)[number]

    @classmethod
    def read(cls, file: Path, *, size: int | None = None) -> Vocabulary:
        """Read a file of one word a line, the most frequent first.

        Parameters
        ----------
        file : Path
        size : int, optional
            Only the first words, so many with `SPECIAL`.

        Raises
        ------
        InvalidTask
            If it cannot be read, or is no vocabulary.
        """
        try:
            if file.stat().st_size > _LARGEST_FILE:
                raise InvalidTask(
                    f"the vocabulary {file} is too large", expected=f"at most {_LARGEST_FILE} bytes"
                )
            lines = file.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidTask(f"the vocabulary {file} cannot be read: {error}") from error
        words = tuple(line.strip() for line in lines if line.strip())
        return cls(words if size is None else words[: _without_special(size)])


def vocabulary_of_language(language: str, size: int) -> Vocabulary:
    """Most frequent words of a language, as the package ``wordfreq`` lists them (Speer 2022).

    Parameters
    ----------
    language : str
        Such as ``"en"``.
    size : int
        How many, with `SPECIAL`.

    Raises
    ------
    InvalidTask
        If there is no list of that language, or it is shorter.
    SettingError
        If ``wordfreq`` is not installed.
    """
    wanted = _without_special(size)
    words = frequent_words(language, wanted)
    if len(words) < wanted:
        raise InvalidTask(
            f"the list of frequent words of {language!r} is too short",
            expected=f"at most {len(words) + len(SPECIAL)}",
            got=size,
        )
    return Vocabulary(words)


def frequent_words(language: str, most: int) -> tuple[str, ...]:
    """Return the most frequent words of a language, the first one first, or as many as its list has.

    Raises
    ------
    InvalidTask
        If there is no list of that language.
    SettingError
        If ``wordfreq`` is not installed.
    """
    if not is_installed("wordfreq"):
        raise missing_library("a vocabulary of a language", "wordfreq, which is not installed", extra="words")
    import wordfreq

    languages = wordfreq.available_languages("best")
    if language not in languages:
        raise InvalidTask(
            f"there is no list of frequent words of {language!r}",
            expected=", ".join(sorted(languages)),
            remedy=did_you_mean(language, languages),
        )
    return _first_words(wordfreq.iter_wordlist(language, "best"), most)


def vocabulary_of_texts(texts: Iterable[str], size: int) -> Vocabulary:
    """Most frequent words of some texts: for experiments, as whoever makes it sees all of them.

    Parameters
    ----------
    texts : iterable of str
    size : int
        How many at most, with `SPECIAL`.

    Raises
    ------
    InvalidTask
        If the texts have no words.
    """
    counts = Counter(lowered(word) for text in texts for sentence in sentences(text) for word in sentence)
    listed = (word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Vocabulary(_first_words(listed, _without_special(size)))


def _first_words(listed: Iterable[str], wanted: int) -> tuple[str, ...]:
    """First entries of a list that are words by our rules; each once."""
    found: dict[str, None] = {}
    for entry in listed:
        if len(found) == wanted:
            break
        if entry and sentences(entry) == [[entry]] and lowered(entry) == entry and entry not in SPECIAL:
            found[entry] = None
    return tuple(found)


def _without_special(size: int) -> int:
    if not len(SPECIAL) < size <= _LARGEST:
        raise InvalidTask(
            "a vocabulary cannot have this size",
            expected=f"{len(SPECIAL) + 1} … {_LARGEST} words, {len(SPECIAL)} of them special",
            got=size,
        )
    return size - len(SPECIAL)
