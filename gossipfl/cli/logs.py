"""The log of ``gossipfl peer run``: on standard error, and in the peer's home."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from gossipfl.settings.log import LogSettings
from topology.parsing import json_of

__all__ = ["ALREADY_SHOWN", "as_logged", "logging_to", "text_of", "use_settings"]

logger = logging.getLogger(__name__)

#: Attribute of records that are printed already, and only belong into the file.
ALREADY_SHOWN: Final = "already_shown"
_FILES: Final = 2  # besides the one that is written
_PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}  # of syslog


class _JsonLines(logging.Formatter):
    """One JSON object a line: time, level, the module that says it, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        values = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "source": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values)


class _JournalLines(logging.Formatter):
    """Lines for systemd's journal, which has its own clock, and takes the level from a prefix."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(f"{prefix}{line}" for line in super().format(record).splitlines())


class _Shown(logging.StreamHandler[TextIO]):
    """Standard error, without what is printed already."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not hasattr(record, ALREADY_SHOWN)


class _PrivateFile(RotatingFileHandler):
    """A rotating file that only its owner can read; where the disk refuses lines, they are left out."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging calls it
        del record


@contextmanager
def logging_to(file: Path, settings: LogSettings) -> Iterator[None]:
    """Log to standard error, and to a file of JSON lines, inside a ``with`` block."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = [_Shown(sys.stderr)]
    trouble = None
    if settings.file_megabytes:
        size = max(1, int(1e6 * settings.file_megabytes))
        try:
            handlers.append(_PrivateFile(file, maxBytes=size, backupCount=_FILES))
        except OSError as error:
            trouble = error
        else:
            handlers[-1].setFormatter(_JsonLines())
    level = root.level
    for handler in handlers:
        root.addHandler(handler)
    try:
        use_settings(settings)
        if trouble is not None:
            logger.warning("the log %s cannot be written: %s", file, trouble.strerror)
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def use_settings(settings: LogSettings) -> None:
    """Change the level, and the form of lines on standard error."""
    root = logging.getLogger()
    root.setLevel(settings.level.upper())
    formatter: logging.Formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    if settings.format == "json":
        formatter = _JsonLines()
    elif _is_journal():
        formatter = _JournalLines("%(message)s")
    for handler in root.handlers:
        if isinstance(handler, _Shown):
            handler.setFormatter(formatter)


def as_logged(line: str, source: str) -> str:
    """Return a line for standard output in the form of those that are logged on standard error."""
    record = logging.LogRecord(source, logging.INFO, "", 0, line, None, None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Shown):
            return handler.format(record)
    return line


def text_of(line: str) -> str:
    """Return a line of a log in a home as text for people; one that is torn as it is."""
    try:
        values = json_of(line)
        when = datetime.fromisoformat(values["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"{when} {values['level'].upper()} {values['message']}"
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return line


def _is_journal() -> bool:
    """Whether standard error is the journal's stream, whose device and inode systemd names."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, OverflowError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
