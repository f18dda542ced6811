"""Text before a cursor: the sentence so far, the words before it, and the word half typed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from gossipfl.tasks.words.normalise import sentences

__all__ = ["Cursor", "at_cursor"]

_LONGEST: Final = 2_000  # characters before the cursor that matter
_PARTIAL: Final = re.compile(r"(?:[^\W\d_][\u0300-\u036f]*)+(?:['\u2019](?:[^\W\d_][\u0300-\u036f]*)*)*\Z")
_BEFORE_A_WORD: Final = re.compile(r"(?:\A|[\s\"“”‘(\[{<—–\-/…!?,;:*_~¿¡«])\Z")
_OPEN: Final = re.compile(r"(?:\A|[\s\"“”‘(\[{—–\-…!?¿¡«])\Z")


@dataclass(frozen=True, slots=True)
class Cursor:
    """What stands before a cursor.

    Parameters
    ----------
    sentences : tuple of tuple of str
        The words before the half-typed one, sentence by sentence; the last one is not finished, and may be empty.
    partial : str
        The word half typed; empty after a space.
    may_suggest : bool
        Whether a word may stand here: not in the middle of a number or an address, nor behind a word's full stop.
    """

    sentences: tuple[tuple[str, ...], ...] = field(repr=False)
    partial: str = field(repr=False)
    may_suggest: bool

    @property
    def sentence(self) -> tuple[str, ...]:
        """The words of the sentence so far."""
        return self.sentences[-1]


def at_cursor(text: str) -> Cursor:
    """Read what stands before a cursor.

    Examples
    --------
    >>> cursor = at_cursor("It is late. See you tom")
    >>> cursor.sentence, cursor.partial
    (('See', 'you'), 'tom')
    """
    text = text[-_LONGEST:]
    found = _PARTIAL.search(text)
    partial = found.group().replace("\u2019", "'") if found else ""
    before = text[: found.start()] if found else text
    read = sentences(f"{before} x")
    may_suggest = bool((_BEFORE_A_WORD if partial else _OPEN).search(before))
    return Cursor((*map(tuple, read[:-1]), tuple(read[-1][:-1])), partial, may_suggest)
