"""Places of settings in the file that holds them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gossipfl.errors import GossipflError
from gossipfl.settings.peer import PeerSettings
from topology.text import read_text

__all__ = ["line_of", "naming_the_place"]

_KEY = re.compile(r"([a-z_]+(?:\.\w+)+): ")


@contextmanager
def naming_the_place(path: Path, settings: PeerSettings) -> Iterator[None]:
    """Put file and line before errors about a setting, ``table.key: ...``, that has its value from the file.

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
    """File and line of a key; None if the value in use is not the file's."""
    try:
        text = read_text(path)
        tables = tomllib.loads(text)
    except (OSError, ValueError):
        return None
    there = _value(tables, names)
    if there is None or there != _value(settings.model_dump(mode="json"), names):
        return None
    line = line_of(text, names)
    return str(path) if line is None else f"{path}:{line}"


def _value(table: Any, names: Sequence[str]) -> Any:  # noqa: ANN401
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def line_of(text: str, names: Sequence[str]) -> int | None:
    """Line on which a key, or failing that its table, stands; 1-based."""
    table: list[str] = []
    counts: dict[str, int] = {}
    best: int | None = None
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
                best = number
            continue
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key:
            full = [*table, *(part.strip("\"'") for part in key[1].split("."))]
            if full == wanted:
                return number
            if full == wanted[: len(full)]:
                best = number
    return best
