"""Logging of events that others cause: truncated, escaped and rate-limited, so that nobody can fill a disk."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Final

from gossipfl.network.rates import TokenBucket
from gossipfl.recent import RecentMap

__all__ = ["limited_logger"]

_MOST_CHARACTERS: Final = 300
_MOST_KINDS: Final = 256
_LINES_AT_ONCE: Final = 10.0
_LINES_PER_SECOND: Final = 0.2


@dataclass(slots=True)
class _Kind:
    bucket: TokenBucket = field(
        default_factory=lambda: TokenBucket(
            rate=_LINES_PER_SECOND, burst=_LINES_AT_ONCE, now=time.monotonic()
        )
    )
    suppressed: int = 0


class _Limits(logging.Filter):
    """A rate limit for the lines of each format string, which counts the suppressed ones."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: RecentMap[str, _Kind] = RecentMap(_MOST_KINDS)

    def forget(self) -> None:
        """Start again, as if nothing had been logged."""
        self._kinds.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        self._kinds[text] = kind = self._kinds.get(text) or _Kind()
        if not kind.bucket.take(1, now=time.monotonic()):
            kind.suppressed += 1
            return False
        if isinstance(record.args, tuple):
            record.args = tuple(_escaped(each) for each in record.args)
        if kind.suppressed:
            record.msg = f"{text} ({kind.suppressed} more lines like this were suppressed)"
            kind.suppressed = 0
        return True


def limited_logger(name: str) -> logging.Logger:
    """Return the logger of this name, with limits on everything it logs."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, _Limits) for each in logger.filters):
        logger.addFilter(_Limits())
    return logger


def _escaped(value: object) -> object:
    if isinstance(value, int | float):
        return value
    text = str(value)
    shown = text[:_MOST_CHARACTERS].encode("unicode_escape").decode("ascii")
    return shown if len(text) <= _MOST_CHARACTERS else f"{shown}… ({len(text)} characters)"
