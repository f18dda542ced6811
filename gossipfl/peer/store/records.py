"""Records of a peer as JSON lines: append-only, and enough to replay it in the simulator.

Each start of a peer writes a file of its own (``records/INCARNATION.jsonl``), one object a line. Events that
change the row have consecutive numbers in ``event``; after a crash the next start goes on from the event of
its checkpoint, so an event is named by (incarnation, event). See ``docs/records.md``.
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

if TYPE_CHECKING:
    import polars

logger = logging.getLogger(__name__)

__all__ = ["RecordWriter", "read_records"]


class RecordWriter:
    """Appends records to a file; every call hands whole lines to the operating system at once.

    A killed process loses nothing that was appended; a machine without power loses what was appended since
    `synchronise`. Where the disk refuses, the peer goes on learning: what could not be written is counted,
    the file keeps whole lines, and the next record that can be written follows one of kind ``gap``.

    Parameters
    ----------
    directory : Path
        Where the files are; torn last lines of earlier files are cut off.
    incarnation : int
        Number of this start, which names the file.

    Raises
    ------
    HomeError
        If the directory cannot be read or written.
    """

    def __init__(self, directory: Path, *, incarnation: int) -> None:
        path = directory / f"{incarnation:06d}.jsonl"
        with named_errors(f"cannot write records into {directory}"):
            make_directory(directory)
            for earlier in directory.glob("*.jsonl"):
                cut_torn_line(earlier)
            self._file: AppendedFile | None = AppendedFile(path)
        self._lock = threading.Lock()
        self._incarnation = incarnation
        self._lost = 0

    def append(self, *records: Mapping[str, Any]) -> None:
        """Append records; may be called from any thread.

        After `close` they are dropped: a thread that was abandoned at the peer's end may still report what
        never became part of the model.
        """
        stamp = {"time": round(time.time(), 6), "incarnation": self._incarnation}
        with self._lock:
            if self._file is None:
                return
            gap = ({"kind": "gap", "lost": self._lost},) if self._lost else ()
            lines = "".join(_line({**record, **stamp}) for record in (*gap, *records))
            try:
                self._file.append(lines.encode())
            except OSError as error:
                if not self._lost:
                    logger.warning(
                        "records cannot be written (%s), and no replay is possible: make room on the disk",
                        error.strerror,
                    )
                self._lost += len(records)
            else:
                self._lost = 0

    @property
    def lost(self) -> int:
        """Records since the last one that could be written."""
        return self._lost

    def synchronise(self) -> None:
        """Wait until the disk has everything that was appended."""
        with self._lock:
            if self._file is not None:
                self._file.synchronise()

    def close(self) -> None:
        """Synchronise and close the file; a disk that refuses now is only reported, for the model is saved."""
        with self._lock:
            if self._file is None:
                return
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                logger.warning("the last records may not be on the disk: %s", error.strerror)


def _line(record: Mapping[str, Any]) -> str:
    """Write one record as JSON, which knows no NaN and no infinity: they become null."""
    known = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
    return json.dumps(known, separators=(",", ":"), allow_nan=False) + "\n"


def read_records(directory: Path) -> polars.DataFrame:
    """Read all records of a peer, in the order in which they were written.

    Parameters
    ----------
    directory : Path
        The ``records`` directory of a peer's home, running or not; a torn last line is left out.

    Returns
    -------
    polars.DataFrame
        One row a record; columns that a kind of record does not have are null in it.

    Raises
    ------
    HomeError
        If there are no records, or they cannot be read.
    """
    import polars

    with named_errors(f"cannot read the records in {directory}"):
        contents = [file.read_bytes() for file in sorted(directory.glob("*.jsonl"))]
    whole = b"".join(content[: content.rfind(b"\n") + 1] for content in contents)
    if not whole:
        raise HomeError(f"there are no records in {directory}", expected="files INCARNATION.jsonl")
    return polars.read_ndjson(whole, infer_schema_length=None)
