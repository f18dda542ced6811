"""JSON and TOML that others may have written: whatever is wrong with a text is one kind of error.

Python's parsers raise `RecursionError` where brackets are nested deeply, and for TOML a plain `ValueError` where
an integer has thousands of digits.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

__all__ = ["json_of", "toml_of"]

_TOO_DEEP = "nested too deeply"


def json_of(text: str | bytes | bytearray, *, parse_constant: Callable[[str], Any] | None = None) -> Any:  # noqa: ANN401
    """Parse JSON.

    Parameters
    ----------
    text : str, bytes or bytearray
    parse_constant : callable, optional
        Called with ``NaN``, ``Infinity`` and ``-Infinity``, which are numbers by default.

    Raises
    ------
    ValueError
        If it is none, is not text, or is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise json.JSONDecodeError(_TOO_DEEP, "", 0) from None


def toml_of(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises
    ------
    tomllib.TOMLDecodeError
        If it is none, is nested too deeply, or has an integer of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError(_TOO_DEEP) from None
    except ValueError as error:
        raise tomllib.TOMLDecodeError(str(error)) from None
