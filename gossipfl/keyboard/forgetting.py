"""Choices of messages to forget: those with a word or a phrase, those of a day, or all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime

from gossipfl.errors import InvalidRequest
from gossipfl.keyboard.saying import without_words
from gossipfl.keyboard.store import Typed

__all__ = ["everything", "of_day", "with_word"]

_LONGEST = 200
_AROUND = " .,;:!?…\"'()[]{}«»„“”‘’‚‹›—–-،؛؟۔।。"


def with_word(word: str) -> Callable[[Typed], bool]:
    """Messages in which a word or a phrase stands: they are forgotten whole, as the rest tells of it.

    Case does not matter, nor do the signs around it and between its words: ``Müller!`` stands in ``frau
    müller,``, and ``rock n roll`` in ``Rock-n-Roll``.

    Raises
    ------
    InvalidRequest
        It holds no letter, no digit and no symbol such as an emoji, or is too long.
    """
    wanted = _folded(word) if isinstance(word, str) and len(word) <= _LONGEST else ""
    wanted = wanted.strip(_AROUND)
    if not any(letter.isalnum() or unicodedata.category(letter) == "So" for letter in wanted):
        raise InvalidRequest(
            "there is no word to forget",
            expected=f"a word or a phrase of at most {_LONGEST} characters",
            got=without_words(word),
        )
    words = [r"\W+" if _is_between(part, wanted) else re.escape(part) for part in re.split(r"(\W+)", wanted)]
    first, last = (r"(?<!\w)" if wanted[0].isalnum() else ""), (r"(?!\w)" if wanted[-1].isalnum() else "")
    pattern = re.compile(first + "".join(words) + last)
    return lambda typed: pattern.search(_folded(typed.text)) is not None


def of_day(day: str) -> Callable[[Typed], bool]:
    """Messages that were begun on a day, ``YYYY-MM-DD`` in the time zone that the machine has now.

    Raises
    ------
    InvalidRequest
        It is no day.
    """
    try:
        wanted = date.fromisoformat(day)
    except (TypeError, ValueError):
        raise InvalidRequest("there is no such day", expected="YYYY-MM-DD", got=without_words(day)) from None
    return lambda typed: datetime.fromtimestamp(typed.time).astimezone().date() == wanted


def everything(_: Typed) -> bool:
    """All messages."""
    return True


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return " ".join(plain.replace("i\u0307", "i").split())  # İ is looked for as i


def _is_between(part: str, wanted: str) -> bool:
    """Whether some signs stand between words, but for apostrophes."""
    is_at_an_end = wanted.startswith(part) or wanted.endswith(part)
    return not re.search(r"[\w']", part) and not is_at_an_end
