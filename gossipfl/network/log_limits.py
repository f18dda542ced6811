"""Logging of events that others cause: truncated, escaped and rate-limited, so that nobody can fill a disk."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import Final

from gossipfl.network.rates import TokenBucket

__all__ = ["limited_logger"]

_MOST_CHARACTERS: Final = 300
_MOST_KINDS: Final = 256
_LINES_AT_ONCE: Final = 10.0
_LINES_PER_SECOND: Final = 0.2


class _Limits(logging.Filter):
    """A rate limit for the lines of each format string, which counts the suppressed ones."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: OrderedDict[str, TokenBucket] = OrderedDict()
        self._suppressed: dict[str, int] = {}

    def forget(self) -> None:
        """Begin again, as if nothing had been logged."""
        self._kinds.clear()
        self._held_back.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = str(record.msg), time.monotonic()
        bucket = self._kinds.pop(kind, None) or TokenBucket(
            rate=_LINES_PER_SECOND, burst=_LINES_AT_ONCE, now=now
        )
        self._kinds[kind] = bucket
        if len(self._kinds) > _MOST_KINDS:
            self._suppressed.pop(self._kinds.popitem(last=False)[0], None)
        if not bucket.take(1, now=now):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return False
        suppressed = self._suppressed.pop(kind, 0)
        if isinstance(record.args, tuple):
            record.args = tuple(_escaped(each) for each in record.args)
        if suppressed:
            record.msg = f"{kind} ({suppressed} more lines like this were suppressed)"
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
