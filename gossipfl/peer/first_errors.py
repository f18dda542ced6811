"""Errors of others that are logged once, however often they happen."""

from __future__ import annotations

import logging

from gossipfl.errors import GossipflError

__all__ = ["FirstErrors"]

_MOST = 1000  # others' behaviour decides how many there are


class FirstErrors:
    """Logs the first error of each kind from each peer; the counters have the rest.

    Parameters
    ----------
    logger : logging.Logger
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._seen: set[tuple[str, str]] = set()

    def log(self, peer: str, error: GossipflError) -> None:
        """Log an error of a peer, named as in the log, unless one of its kind was logged before."""
        key = (peer, error.counter())
        if key not in self._seen and len(self._seen) < _MOST:
            self._seen.add(key)
            self._logger.warning("%s: %s", peer, error)
