"""Limits on file descriptors, and thus on connections."""

from __future__ import annotations

import logging
import resource

from gossipfl.errors import SettingError

__all__ = ["room_for_connections"]

logger = logging.getLogger(__name__)

_RESERVED = 40  # files of the home, listeners, the event loop, libraries loaded later
_FEWEST = 8
_REMEDY = "Raise it: `ulimit -n 1024`, LimitNOFILE= for systemd, --ulimit nofile=1024 for containers."


def room_for_connections(wanted: int) -> int:
    """Raise the process's soft limit as far as needed and allowed, and return how many connections fit.

    Parameters
    ----------
    wanted : int
        Connections that the settings allow.

    Returns
    -------
    int
        `wanted`, or fewer if the hard limit is too low, which is logged.

    Raises
    ------
    SettingError
        Fewer than eight connections fit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else max(soft, min(hard, needed))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else soft - _RESERVED
    if room < min(_FEWEST, wanted):
        raise SettingError(
            "this process may open too few files for a peer",
            expected=f"a limit of at least {_RESERVED + _FEWEST}",
            got=soft,
            remedy=_REMEDY,
        )
    if room < wanted:
        logger.warning(
            "this process may open %d files: there is room for %d connections instead of %d. %s",
            soft,
            room,
            wanted,
            _REMEDY,
        )
    return min(room, wanted)
