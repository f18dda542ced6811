"""Text as sentences of words, by stated rules.

The rules, in this order:

1. Unicode NFKC; typographic apostrophes become ``'``; control and format characters vanish, line breaks stay. 2.
A sentence ends at ``!``, ``?`` and their like in other scripts (``؟ ۔ । 。``), at full stops before a space, a
quotation mark or a bracket, and at an empty
   line; a full stop after a single letter ends none (``U. S.``, ``J. Smith``). A single line break is a space.
3. Web and e-mail addresses, ``@names`` and ``#tags`` become ``<link>``.
4. What holds a digit becomes ``<number>``: ``1,000``, ``10:30``, ``3rd``, ``$5``.
5. A word is a run of letters and their marks, with apostrophes inside: ``don't``, ``o'clock``. Hyphens and dashes
   separate words.
6. All other signs vanish: commas, brackets, quotation marks, emoji.
7. Words are looked up in lower case; one longer than 40 letters is unknown to every vocabulary.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

__all__ = ["LINK", "LONGEST_WORD", "NUMBER", "lowered", "sentences"]

LINK, NUMBER = "<link>", "<number>"
LONGEST_WORD = 40

_APOSTROPHES = dict.fromkeys(map(ord, "\u2019\u2018\u02bc\u2032\u0060\u00b4\uff07"), "'")
_KEPT = "\n\t\r"
_ENDS = (
    "\u061f\u06d4\u0964\u0965\u0589\u1362\u3002"  # Arabic, Urdu, Devanagari, Armenian, Ethiopic, ideographic
)


def sentences(text: str) -> list[list[str]]:
    """Split a text into sentences of words.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of list of str
        Words as they were written, ``<number>`` and ``<link>``; no sentence is empty.

    Examples
    --------
    >>> sentences("Don't wait: it's 10 o'clock. Write to me@example.org!")
    [["Don't", 'wait', "it's", '<number>', "o'clock"], ['Write', 'to', '<link>']]
    """
    found: list[list[str]] = []
    sentence: list[str] = []
    for piece in _pieces(text):
        if piece is not None:
            sentence.append(piece)
        elif sentence:
            found.append(sentence)
            sentence = []
    return [*found, sentence] if sentence else found


def lowered(word: str) -> str:
    """Form in which a word is looked up; that of a word too long is empty."""
    return word.lower() if len(word) <= LONGEST_WORD else ""


def _pieces(text: str) -> Iterator[str | None]:
    """Words and, as None, ends of sentences."""
    for match in _pattern().finditer(_cleaned(text)):
        kind = match.lastgroup
        if kind == "word":
            yield match.group()
        elif kind == "end":
            yield None
        else:
            yield LINK if kind == "link" else NUMBER


def _cleaned(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    normal = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).translate(_APOSTROPHES)
    return normal.replace("\r\n", "\n").translate(_unseen())


@cache
def _unseen() -> dict[int, None]:
    """Control and format characters, and lone surrogates, which are removed."""
    return {code: None for code in _of_categories(("Cc", "Cf", "Cs")) if chr(code) not in _KEPT}


def _of_categories(categories: Iterable[str]) -> Iterator[int]:
    wanted = frozenset(categories)
    return (code for code in range(_LAST) if unicodedata.category(chr(code)) in wanted)


_LAST = min(sys.maxunicode, 0x1FFFF) + 1  # marks and format characters lie below, but for tags


@cache
def _pattern() -> re.Pattern[str]:
    mark = f"[{_ranges(_of_categories(('Mn', 'Mc')))}]"
    letter = rf"(?:[^\W\d_]{mark}*)"
    return re.compile(
        rf"""
        (?P<link> (?:https?://|www\.)\S+ | (?<![\w.+-])[\w.+-]{{1,64}}@[\w-]+(?:\.[\w-]+)+ | (?<![\w])[@\#]\w+ )
      | (?P<number> [^\W_]*\d[\w]*(?:[.,:/'-]\d\w*)* )
      | (?P<word> {letter}+(?:'{letter}+)* )
      | (?P<end> (?<!\.)(?<!(?<![\w'])[^\W\d_])\.++(?=[\s"')\]]|$) | [!?{_ENDS}]+ | \n[ \t\r]*\n )
        """,
        re.VERBOSE,
    )


def _ranges(codes: Iterable[int]) -> str:
    """Characters as the inside of a character class."""
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in found)
