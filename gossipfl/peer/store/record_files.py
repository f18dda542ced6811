"""Files of records: their names and order, and the summary of removed ones."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gossipfl.errors import HomeError
from gossipfl.files import AppendedFile, cut_torn_line, named_errors, remove, write_atomically
from topology.parsing import json_of

__all__ = ["SUMMARY", "name_of", "read_summary", "record_files", "remove_old"]

#: File with a line for each removed file of records.
SUMMARY: Final = "summary.ndjson"
_NAME = re.compile(r"(\d+)(?:\.(\d+))?\.jsonl")
_DAY_SECONDS = 86400.0
_SUMMED = ("age", "step", "event", "time")


def name_of(incarnation: int, part: int) -> str:
    """Return the name of a file of records; the first part is named by the start alone."""
    return f"{incarnation:06d}.jsonl" if part == 0 else f"{incarnation:06d}.{part:04d}.jsonl"


def record_files(directory: Path) -> dict[tuple[int, int], Path]:
    """Return the files of records by number of the start and of the part, in the order of writing."""
    found = {}
    for path in directory.glob("*.jsonl"):
        if named := _NAME.fullmatch(path.name):
            found[int(named[1]), int(named[2] or 0)] = path
    return dict(sorted(found.items()))


def remove_old(
    directory: Path,
    *,
    keep_bytes: float,
    keep_days: float,
    summary_bytes: float = math.inf,
    now: float | None = None,
) -> list[str]:
    """Remove the oldest files of records beyond the limits, but never the newest one; return their names.

    A summary of each is appended to `SUMMARY` first, whose oldest lines go once it has more than `summary_bytes`.

    Raises
    ------
    OSError
        The disk failed.
    """
    *old, newest = list(record_files(directory).items()) or [((0, 0), directory)]
    too_old = (time.time() if now is None else now) - keep_days * _DAY_SECONDS
    sizes = {path: (path.stat().st_size, path.stat().st_mtime) for _, path in [*old, newest]}
    total = sum(size for size, _ in sizes.values())
    removed = []
    for (incarnation, part), path in old:
        size, written = sizes[path]
        if total <= keep_bytes and written >= too_old:
            break
        summary = {
            "file": path.name,
            "incarnation": incarnation,
            "part": part,
            "bytes": size,
            **_summed_up(path),
        }
        _append(directory / SUMMARY, summary)
        remove(path)
        removed.append(path.name)
        total -= size
    if removed:
        _shorten(directory / SUMMARY, summary_bytes)
    return removed


def read_summary(directory: Path) -> list[dict[str, Any]]:
    """Read the summaries of removed files, each once, oldest first.

    Raises
    ------
    HomeError
        The file is damaged or cannot be read.
    """
    path = directory / SUMMARY
    with named_errors(f"cannot read {path}"):
        content = path.read_bytes() if path.exists() else b""
    try:
        lines = [json_of(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
        return list({each["file"]: each for each in lines}.values())
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise HomeError(f"{path} is damaged", got=f"{type(error).__name__}: {error}") from error


def _shorten(path: Path, most: float) -> None:
    """Keep the newest half of a file of lines that has more than so many bytes, and its last line."""
    if path.stat().st_size <= most:
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept, size = [lines.pop()], 0
    while lines and (size := size + len(lines[-1])) <= most / 2:
        kept.append(lines.pop())
    write_atomically(path, b"".join(reversed(kept)))


def _append(path: Path, value: dict[str, Any]) -> None:
    if path.exists():
        cut_torn_line(path)
    file = AppendedFile(path)
    try:
        file.append(json.dumps(value, separators=(",", ":")).encode() + b"\n")
    finally:
        file.close()


def _summed_up(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return summed_up(file)


def summed_up(lines: Iterable[bytes]) -> dict[str, Any]:
    """Return ends of counters, numbers of records of each kind, and the last evaluation.

    Invalid lines are counted as ``damaged``.
    """
    ends: dict[str, list[Any]] = {}
    kinds: Counter[str] = Counter()
    senders: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    evaluation: dict[str, Any] = {}
    for line in lines:
        try:
            record = json_of(line)
            kind = str(record["kind"])
        except (ValueError, OverflowError, KeyError, TypeError):
            kinds["damaged"] += 1
            continue
        kinds[kind] += 1
        for key in _SUMMED:
            if isinstance(value := record.get(key), int | float):
                first = ends.get(key, [value])[0]
                ends[key] = [first, value]
        if kind in ("merge", "adopt"):
            senders[str(record.get("sender"))] += 1
        elif kind == "exchange":
            outcomes[str(record.get("outcome"))] += 1
        elif kind == "evaluation":
            evaluation = {key: each for key, each in record.items() if key not in ("kind", "incarnation")}
    counted = {"kinds": dict(kinds), "merges": dict(senders), "exchanges": dict(outcomes)}
    return {**ends, **counted, "evaluation": evaluation}
