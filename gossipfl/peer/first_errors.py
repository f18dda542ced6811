"""Errors caused by others, each logged only once."""

from __future__ import annotations

import logging

from gossipfl.errors import GossipflError

__all__ = ["FirstErrors"]

_MOST = 1000  # others decide how many there are


class FirstErrors:
    """Logs the first error of each kind from each peer; the counters show the rest."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._seen: set[tuple[str, str]] = set()

    def log(self, peer: str, error: GossipflError) -> None:
        """Log an error of a peer, under its name for the log, unless one of the same kind has been logged."""
        key = (peer, error.counter())
        if key not in self._seen and len(self._seen) < _MOST:
            self._seen.add(key)
            self._logger.warning("%s: %s", peer, error)
