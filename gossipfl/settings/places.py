"""Places of settings: where they stand in their file, and which flag gives them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gossipfl.errors import GossipflError
from topology.parsing import toml_of
from topology.text import read_text

if TYPE_CHECKING:
    from gossipfl.settings.peer import PeerSettings

__all__ = ["cited", "flag_of", "naming_the_place", "syntax_error", "value_at"]

_FLAGS = {"--task-name": "--task", "--task-options": "--option"}
_POSITION = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)
_KEY = re.compile(r"([a-z_]+(?:\.\w+)+): ")


@contextmanager
def naming_the_place(path: Path, settings: PeerSettings) -> Iterator[None]:
    """Put file, line and column before errors, ``table.key: ...``, about a value that is the file's.

    Parameters
    ----------
    path : Path
        The settings file.
    settings : PeerSettings
        Those in use; values that flags gave are not blamed on the file.
    """
    try:
        yield
    except GossipflError as error:
        key = _KEY.match(error.what)
        place = None if key is None else _place(path, settings, key[1].split("."))
        if place is None:
            raise
        raise error.at(place) from error


def _place(path: Path, settings: PeerSettings, names: Sequence[str]) -> str | None:
    """The place of a key; None if the value in use is not the file's."""
    try:
        text = read_text(path)
        tables = toml_of(text)
    except (OSError, ValueError):
        return None
    there = value_at(tables, names)
    if there is None or there != value_at(settings.model_dump(mode="json"), names):
        return None
    return cited(str(path), text, names)


def flag_of(table: str, key: str) -> str:
    """The flag for a setting, e.g. ``--training-learning-rate``."""
    flag = f"--{table}-{key}".replace("_", "-")
    return _FLAGS.get(flag, flag)


def value_at(table: object, names: Sequence[str]) -> object:
    """The value at a dotted key, split into its parts, places in lists among them; None if there is none."""
    for name in names:
        if isinstance(table, list):
            table = table[int(name)] if name.isdigit() and int(name) < len(table) else None
        else:
            table = table.get(name) if isinstance(table, dict) else None
    return table


def cited(source: str, text: str, names: Sequence[str]) -> str:
    """Where a key stands, or failing that its table, as ``file:line:column``; the file alone if it is not there.

    Parameters
    ----------
    source, text : str
        The file's name, and the TOML in it.
    names : sequence of str
        The dotted key, split into its parts.
    """
    place = _place_in(text, names)
    return source if place is None else f"{source}:{place[0]}:{place[1]}"


def syntax_error(error: tomllib.TOMLDecodeError, source: str) -> str:
    """Describe where a text is not TOML, and why."""
    said = _POSITION.fullmatch(str(error))
    return f"{source}:{said[2]}:{said[3]}: not TOML: {said[1]}" if said else f"{source}: not TOML: {error}"


def _place_in(text: str, names: Sequence[str]) -> tuple[int, int] | None:
    """Line and column of a key or, failing that, of its table; from 1."""
    table: list[str] = []
    counts: dict[str, int] = {}
    best: tuple[int, int] | None = None
    wanted = [name for name in names if not name.isdigit()]
    wanted_entry = next((int(name) for name in names if name.isdigit()), None)
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line)
        if header:
            table = [part.strip().strip("\"'") for part in header[2].split(".")]
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], -1) + 1
                if wanted_entry is not None and counts[header[2]] != wanted_entry:
                    table = ["?", *table]
            if table == wanted[: len(table)]:
                best = (number, header.start(1) + 1)
            continue
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key:
            full = [*table, *(part.strip("\"'") for part in key[1].split("."))]
            if full == wanted[: len(full)]:
                column = _inline_column(line, wanted[len(full) :], start=key.end()) or key.start(1) + 1
                best = (number, column)
            if full == wanted:
                return best
    return best


def _inline_column(line: str, names: Sequence[str], *, start: int) -> int | None:
    """Column of the last of these keys that is found, each in the inline table of the one before."""
    column = None
    for name in names:
        key = re.compile(rf"[{{,]\s*([\"']?{re.escape(name)}[\"']?)\s*=").search(line, start)
        if key is None:
            break
        column, start = key.start(1) + 1, key.end()
    return column
