"""Records of a peer as JSON lines: append-only, and enough to replay it in the simulator.

Each start of a peer writes its own files (``records/INCARNATION.jsonl``, ``INCARNATION.0001.jsonl`` …), one
object a line. Events that change the row have consecutive numbers in ``event``; after a crash the next start
continues from the event of its checkpoint, so an event is identified by (incarnation, event). See
``docs/records.md``.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gossipfl.errors import HomeError
from gossipfl.files import AppendedFile, cut_torn_line, make_directory, named_errors
from gossipfl.peer.store.record_files import name_of, record_files, remove_old
from gossipfl.settings import RecordsSettings

if TYPE_CHECKING:
    import polars

logger = logging.getLogger(__name__)

__all__ = ["RecordWriter", "read_records"]

_MEGABYTE = 1e6
_FEWEST_FILES = 4
_EVENTS = frozenset({"merge", "adopt", "train", "clock", "go_back", "round", "jump"})


class RecordWriter:
    """Appends records to a file; every call passes complete lines to the operating system immediately.

    A killed process loses nothing that was appended; a power failure loses what was appended since
    `synchronise`. If the disk fails, the peer keeps learning: lost records are counted, the file keeps complete
    lines, and the next record that can be written follows one of kind ``gap``.

    Parameters
    ----------
    directory : Path
        Directory of the files; an incomplete last line of the newest one is cut off.
    incarnation : int
        Number of this start, which names the files.
    settings : RecordsSettings, optional
        Size of the files, and how many are kept.

    Raises
    ------
    HomeError
        The directory cannot be read or written.
    """

    def __init__(self, directory: Path, *, incarnation: int, settings: RecordsSettings | None = None) -> None:
        self._directory = directory
        self._settings = settings or RecordsSettings()
        with named_errors(f"cannot write records into {directory}"):
            make_directory(directory)
            for newest in list(record_files(directory).values())[-1:]:
                cut_torn_line(newest)
            self._file: AppendedFile | None = AppendedFile(directory / name_of(incarnation, 0))
        self._lock = threading.Lock()
        self._incarnation = incarnation
        self._part = 0
        self._start: dict[str, Any] = {}
        self._lost = 0

    @property
    def _file_bytes(self) -> float:
        """Size of a file after which the next one begins: a small share of all, which are removed one by one."""
        return min(self._settings.file_megabytes, self._settings.keep_megabytes / _FEWEST_FILES) * _MEGABYTE

    def append(self, *records: Mapping[str, Any]) -> None:
        """Append records; may be called from any thread.

        After `close` they are dropped: an abandoned thread may still report events that never became part of the
        model.
        """
        stamp = {"time": round(time.time(), 6), "incarnation": self._incarnation}
        with self._lock:
            if self._file is None:
                return
            if self._file.size >= self._file_bytes:
                self._file = self._next_file(self._file)
            self._follow(records)
            gap = ({"kind": "gap", "lost": self._lost},) if self._lost else ()
            lines = "".join(_line({**record, **stamp}) for record in (*gap, *records))
            try:
                self._file.append(lines.encode())
            except OSError as error:
                if not self._lost:
                    logger.warning(
                        "records cannot be written (%s), so no replay is possible: free space on the disk",
                        error.strerror,
                    )
                self._lost += len(records)
            else:
                self._lost = 0

    def _follow(self, records: tuple[Mapping[str, Any], ...]) -> None:
        """Remember what the next file must begin with."""
        for record in records:
            if record.get("kind") == "start":
                self._start = dict(record)
            elif record.get("kind") in _EVENTS:
                self._start |= {key: record[key] for key in ("event", "age", "step") if key in record}

    def _next_file(self, file: AppendedFile) -> AppendedFile:
        """Begin the next file once this one is on disk; if the disk fails, continue with this one."""
        try:
            file.synchronise()
            following = AppendedFile(self._directory / name_of(self._incarnation, self._part + 1))
            try:
                stamp = {"time": round(time.time(), 6), "incarnation": self._incarnation}
                continued = {**self._start, **stamp, "kind": "continued", "part": self._part + 1}
                following.append(_line(continued).encode())
            except OSError:
                following.close()
                raise
            file.close()
        except OSError as error:
            logger.debug("the next file of records cannot be begun: %s", error.strerror)
            return file
        self._part += 1
        return following

    def remove_old(self) -> None:
        """Remove files beyond the limits, keeping a summary of each.

        Raises
        ------
        OSError
            The disk failed.
        """
        keep = self._settings
        most = keep.keep_megabytes * _MEGABYTE
        removed = remove_old(
            self._directory,
            keep_bytes=most - self._file_bytes,  # the newest file is still to grow
            keep_days=keep.keep_days,
            summary_bytes=most / _FEWEST_FILES,
        )
        if removed:
            logger.info(
                "old records were removed (%s): runs up to then can no longer be replayed",
                ", ".join(removed),
            )

    @property
    def lost(self) -> int:
        """Number of records lost since the last one that could be written."""
        return self._lost

    def synchronise(self) -> None:
        """Wait until everything appended is on disk."""
        with self._lock:
            if self._file is not None:
                self._file.synchronise()

    def close(self) -> None:
        """Synchronise and close the file; disk errors are only reported, since the model has been saved."""
        with self._lock:
            if self._file is None:
                return
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                logger.warning("the last records may not be on disk: %s", error.strerror)


def _line(record: Mapping[str, Any]) -> str:
    """Return a record as a line of JSON; NaN and infinities become null."""
    known = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
    return json.dumps(known, separators=(",", ":"), allow_nan=False) + "\n"


def read_records(directory: Path) -> polars.DataFrame:
    """Read all records of a peer, in the order of writing.

    Parameters
    ----------
    directory : Path
        The ``records`` directory of a peer's home, running or not; an incomplete last line is left out.

    Returns
    -------
    polars.DataFrame
        One row for each record; columns that a kind of record does not have are null.

    Raises
    ------
    HomeError
        There are no records, they cannot be read, or they are damaged.
    """
    import polars

    with named_errors(f"cannot read the records in {directory}"):
        contents = [file.read_bytes() for file in record_files(directory).values()]
    whole = b"".join(content[: content.rfind(b"\n") + 1] for content in contents)
    if not whole:
        raise HomeError(f"there are no records in {directory}", expected="files INCARNATION.jsonl")
    try:
        return polars.read_ndjson(whole, infer_schema_length=None)
    except (polars.exceptions.PolarsError, ValueError) as error:
        raise HomeError(
            f"the records in {directory} are damaged",
            expected="an object of JSON in each line",
            got=str(error)[:200],
            remedy="Restore them from a backup, or move the damaged file elsewhere.",
        ) from error
