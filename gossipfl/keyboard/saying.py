"""Words for what came in a request, none of which are those that were typed."""

from __future__ import annotations

from typing import Final

__all__ = ["without_words"]

_MOST_DIGITS: Final = 40


def without_words(value: object) -> str:
    """Say what came as a value of JSON, in a few characters and without any word of it.

    Examples
    --------
    >>> without_words(-1), without_words("see you"), without_words(["see"]), without_words(None)
    ('-1', 'a text of 7 characters', 'a list of 1', 'null')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_MOST_DIGITS else f"a number of more than {_MOST_DIGITS} digits"
    if isinstance(value, float):
        return f"{value:g}"
    for kind, said in ((str, "a text of {} characters"), (list, "a list of {}"), (dict, "an object of {}")):
        if isinstance(value, kind):
            return said.format(len(value))
    return type(value).__name__
