"""Choices of messages to forget: those with a word or a phrase, those of a day, or all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime

from gossipfl.errors import InvalidRequest
from gossipfl.keyboard.store import Typed

__all__ = ["everything", "of_day", "with_word"]

_LONGEST = 200


def with_word(word: str) -> Callable[[Typed], bool]:
    """Messages in which a word or a phrase stands, in any case: they are forgotten whole, as the rest tells of it.

    Raises
    ------
    InvalidRequest
        It holds no letter and no digit, or is too long.
    """
    wanted = _folded(word) if isinstance(word, str) and len(word) <= _LONGEST else ""
    if not any(map(str.isalnum, wanted)):
        raise InvalidRequest(
            "there is no word to forget", expected=f"a word or a phrase of at most {_LONGEST} characters"
        )
    pattern = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
    return lambda typed: pattern.search(_folded(typed.text)) is not None


def of_day(day: str) -> Callable[[Typed], bool]:
    """Messages that were begun on a day, ``YYYY-MM-DD`` in the machine's time zone.

    Raises
    ------
    InvalidRequest
        It is no day.
    """
    try:
        wanted = date.fromisoformat(day)
    except (TypeError, ValueError):
        raise InvalidRequest("there is no such day", expected="YYYY-MM-DD") from None
    return lambda typed: datetime.fromtimestamp(typed.time).astimezone().date() == wanted


def everything(_: Typed) -> bool:
    """All messages."""
    return True


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return " ".join(plain.split())
