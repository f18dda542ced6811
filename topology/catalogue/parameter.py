"""Parameters of families of topologies: how their values are written, and within which bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["REQUIRED", "Parameter", "Reading"]

Reading: TypeAlias = Literal[
    "whole number", "number", "yes or no", "word", "path", "shape", "whole numbers", "topology", "value"
]

REQUIRED = object()
"""Marks a parameter without a default."""

_ANSWERS = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a family.

    Attributes
    ----------
    name : str
        As it is written in an expression or a table.
    reading : Reading
        How its text is read. A ``"shape"`` is written ``8x8``, ``"whole numbers"`` as ``(0,1,1,2)``; a
        ``"value"`` is anything that a user's own function takes.
    description : str
        Its meaning, in a few words.
    default : object, optional
        Its value when omitted; without a default it is required.
    least, most : float, optional
        Bounds, for display; the function that builds the topology enforces them.
    choices : tuple of str
        The allowed words, if there are few. Case, and what joins the parts of a word, do not matter.
    """

    name: str
    reading: Reading
    description: str = ""
    default: object = REQUIRED
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Whether it is required."""
        return self.default is REQUIRED

    @property
    def bounds(self) -> str:
        """The accepted values, e.g. ``whole number ≥ 1``."""
        if self.choices:
            return " or ".join(self.choices)
        least, most = (None if bound is None else f"{bound:g}" for bound in (self.least, self.most))
        if least and most:
            return f"{self.reading}, {least} … {most}"
        return f"{self.reading} ≥ {least}" if least else self.reading

    def read(self, text: str) -> object:
        """Read a value from an expression.

        Raises
        ------
        ValueError
            If the text cannot be read.
        """
        reader = _READERS.get(self.reading)
        return self._word(text) if reader is None else reader(text)

    def accept(self, value: object) -> object:
        """Check a value from a TOML table; one written as text is read as in an expression.

        Raises
        ------
        ValueError
            If this parameter does not accept it.
        """
        if isinstance(value, str) and self.reading != "value":
            return self.read(value)
        if isinstance(value, (list, tuple)):
            value = tuple(value)
        fits = {
            "whole number": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, (int, float)) and not isinstance(value, bool),
            "yes or no": isinstance(value, bool),
            "shape": isinstance(value, tuple) and all(isinstance(length, int) for length in value),
            "whole numbers": isinstance(value, tuple),
            "path": isinstance(value, Path),
            "value": True,
        }
        return value if fits.get(self.reading, False) else _refuse(value)

    def written(self, value: object) -> str:
        """Write a value as in an expression."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return "x".join(map(str, value)) if self.reading == "shape" else f"({','.join(map(str, value))})"
        return f"({value})" if self.reading == "topology" else str(value)

    def _word(self, text: str) -> str:
        if not text:
            return _refuse(text)
        if not self.choices:
            return text
        return {_hyphened(word): word for word in self.choices}.get(_hyphened(text)) or _refuse(text)


def _hyphened(word: str) -> str:
    return word.lower().replace("_", "-").replace(" ", "-")


def _whole_numbers(text: str, separator: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.lower().split(separator))


def _inside(text: str) -> str:
    return text.removeprefix("(").removesuffix(")")


def _answer(text: str) -> bool:
    return _ANSWERS[text.lower()] if text.lower() in _ANSWERS else bool(_refuse(text))


def _guess(text: str) -> object:
    """A value as TOML would read it, or else the text itself."""
    for reader in (_answer, int, float):
        try:
            return reader(text)
        except ValueError:
            continue
    return text


def _refuse(value: object) -> str:
    raise ValueError(value)


_READERS: dict[Reading, Callable[[str], object]] = {
    "whole number": int,
    "number": float,
    "yes or no": _answer,
    "shape": lambda text: _whole_numbers(text, "x"),
    "whole numbers": lambda text: _whole_numbers(_inside(text), ","),
    "topology": _inside,
    "value": _guess,
}
