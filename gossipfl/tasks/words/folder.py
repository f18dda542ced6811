"""Texts of one's own: a folder of text files, one file or sub-folder a user, or exported chats as JSON lines.

A file ``NAME.txt`` or ``NAME.md`` is the text of the user NAME, and a sub-folder that of the user of its name: its
files in the order of their paths. A file ``*.jsonl`` has an object a line, for messages of any users::

    {"user": "ada", "time": "2026-03-01T08:15:00+01:00", "text": "Are you there?"}

``time`` is a number of seconds or in ISO 8601; without a zone it is taken for UTC. What is no text is skipped, and
counted by what is wrong with it, which the log says; hidden files and links are not looked at.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gossipfl.errors import InvalidTask
from gossipfl.tasks.words.texts import Texts, Utterance
from topology.parsing import json_of

__all__ = ["read_texts"]

_log = logging.getLogger(__name__)

_LARGEST_FILE = 2**26  # bytes
_LARGEST_LINE = 2**20  # bytes, of a message
_MOST_BYTES = 2**30
_MOST_FILES = 100_000
_LONGEST_NAME = 200
_TEXT, _LINES = (".txt", ".md", ".text"), (".jsonl", ".ndjson")


def read_texts(place: Path) -> Texts:
    """Read a folder, or a single file.

    Parameters
    ----------
    place : Path

    Raises
    ------
    InvalidTask
        If there is no such folder, there is too much in it, or nothing that is text: with what was skipped.
    """
    if not place.exists():
        raise InvalidTask(
            f"there is no folder {place} of texts",
            expected="a folder of .txt, .md or .jsonl files, or one such file",
        )
    skipped: Counter[str] = Counter()
    try:
        texts = Texts.of(_all(place, skipped), skipped)
    except OSError as error:
        raise InvalidTask(f"the texts in {place} cannot be read: {error}") from error
    said = ", ".join(f"{count} skipped: {reason}" for reason, count in texts.skipped.items())
    if not texts.of_user:
        raise InvalidTask(
            f"there is no text in {place}",
            expected="files that end in .txt, .md or .jsonl, with text in UTF-8",
            got=said or "none",
        )
    if said:
        _log.warning("of the texts in %s, %s", place, said)
    return texts


def _all(place: Path, skipped: Counter[str]) -> Iterator[Utterance]:
    total = 0
    for number, (user, file) in enumerate(_files(place, skipped)):
        total += file.stat().st_size
        if number >= _MOST_FILES or total > _MOST_BYTES:
            raise InvalidTask(
                f"there is too much in {place}",
                expected=f"at most {_MOST_FILES} files and {_MOST_BYTES // 2**20} MiB",
                remedy="Give a folder of less.",
            )
        text = _decoded(file, skipped)
        if text is None:
            continue
        if file.suffix.lower() in _LINES:
            yield from _messages(text, skipped)
        else:
            yield Utterance(user[:_LONGEST_NAME], number, text)


def _files(place: Path, skipped: Counter[str]) -> Iterator[tuple[str, Path]]:
    """Files and whose they are, in the order of their paths."""
    if place.is_file():
        yield place.stem, place
        return
    for folder, below, names in os.walk(place):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = Path(folder).relative_to(place).parts
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or file.is_symlink():
                continue
            if not file.is_file() or file.suffix.lower() not in _TEXT + _LINES:
                skipped["no text file by its name"] += 1
                continue
            yield inside[0] if inside else file.stem, file


def _decoded(file: Path, skipped: Counter[str]) -> str | None:
    """Text of a file; None if it is skipped."""
    size = file.stat().st_size
    if size > _LARGEST_FILE:
        skipped[f"larger than {_LARGEST_FILE // 2**20} MiB"] += 1
        return None
    data = file.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\0" in data and not wide:
        skipped["binary"] += 1
        return None
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        skipped["not in UTF-8"] += 1
        return None
    if not text.strip():
        skipped["empty"] += 1
        return None
    return text


def _messages(text: str, skipped: Counter[str]) -> Iterator[Utterance]:
    for line in text.split("\n"):
        if not line.strip():
            continue
        found = _message(line)
        if isinstance(found, Utterance):
            yield found
        else:
            skipped[found] += 1


def _message(line: str) -> Utterance | str:
    """Message of a line, or what is wrong with it."""
    if len(line) > _LARGEST_LINE:
        return f"a line longer than {_LARGEST_LINE // 2**20} MiB"
    try:
        message = json_of(line)
    except (ValueError, RecursionError):
        return "a line that is no JSON"
    if not isinstance(message, dict):
        return "a line that is no object"
    user, text, seconds = message.get("user"), message.get("text"), _seconds(message.get("time"))
    if isinstance(user, str) and 0 < len(user) <= _LONGEST_NAME and isinstance(text, str):
        return "a message without a time" if seconds is None else Utterance(user, seconds, text)
    return "a message without a user or a text"


def _seconds(time: Any) -> float | None:  # noqa: ANN401 - whatever JSON holds
    try:
        if isinstance(time, int | float) and not isinstance(time, bool):
            return float(time) if math.isfinite(time) else None
        if isinstance(time, str):
            moment = datetime.fromisoformat(time)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    return None
