"""Text that people wrote: files as spreadsheets and editors of any system save them, and names on a terminal."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["fields_of", "number_of", "numbers_of", "printable", "read_text"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)


def read_text(file: Path) -> str:
    """Return the text of a file without its byte order mark: UTF-8, or the encoding that the mark states.

    Raises
    ------
    OSError
        If it cannot be read.
    UnicodeDecodeError
        If it is in another encoding.
    """
    content = file.read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding)


def printable(text: object) -> str:
    r"""Return a text in one line, with ``?`` for what a terminal would obey instead of showing it.

    Examples
    --------
    >>> printable("a\n\x1b[2J")
    'a ?[2J'
    """
    return "".join(each if each.isprintable() else "?" for each in " ".join(str(text).split()))


def fields_of(line: str) -> list[str]:
    """Return the fields of a line of a table: separated by semicolons, else by tabs or blanks, else by commas.

    A comma that stands between blanks and within numbers only is a decimal comma, and stays for `number_of`.
    """
    if ";" in line:
        return [field.strip().strip('"') for field in line.split(";")]
    words = line.split()
    whole = len(words) > 1 and not any(word.startswith(",") or word.endswith(",") for word in words)
    if whole and any(_DECIMAL_COMMA.fullmatch(word) for word in words):
        return words
    return [field.strip().strip('"') for field in line.replace(",", " ").split()]


def number_of(field: str) -> float:
    """Return a number written with a decimal point or a decimal comma.

    Raises
    ------
    ValueError
        If it is none.
    """
    return float(field.replace(",", ".") if _DECIMAL_COMMA.fullmatch(field) else field)


def numbers_of(text: str) -> npt.NDArray[np.float64]:
    """Return the numbers of a table without header, a line a row, float64 ``[rows, columns]``.

    Raises
    ------
    ValueError
        If rows differ in length, or a field is not a number; it names the line.
    """
    import numpy as np  # not for whoever reads settings

    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = fields_of(line.partition("#")[0])
        if not fields:
            continue
        try:
            rows.append([number_of(field) for field in fields])
        except ValueError:
            raise ValueError(f"line {number} holds something that is not a number: {line[:60]!r}") from None
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(f"line {number} has {len(rows[-1])} numbers, and the first one {len(rows[0])}")
    return np.array(rows, dtype=np.float64, ndmin=2)
