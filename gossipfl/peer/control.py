"""Requests to a running peer, left in its home by commands: to pause, resume, leave, or examine itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import trio

from gossipfl.errors import HomeError
from gossipfl.files import named_errors, write_atomically
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.permission import Permissions
from topology.parsing import json_of

__all__ = [
    "Requests",
    "obey",
    "read_requests",
    "request_examination",
    "request_leave",
    "request_pause",
    "write_requests",
]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.25
_PAUSED: Final = "paused by gossipfl peer pause: it neither trains nor merges until gossipfl peer resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What a peer's operator wants of it.

    Parameters
    ----------
    paused : bool
        Whether the peer neither trains nor merges; holds for later starts too.
    leaves : int or None
        Number of the start that leaves the network.
    examination : int
        Number of the newest examination that is wanted; 0 if none was.
    """

    paused: bool = False
    leaves: int | None = None
    examination: int = 0


def read_requests(path: Path) -> Requests:
    """Read the file of requests; there are none without it.

    Raises
    ------
    HomeError
        It is damaged, or cannot be read.
    """
    with named_errors(f"{path} cannot be read"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return Requests()
    try:
        values = json_of(content)
        leaves = values["leaves"]
        return Requests(
            paused=values["paused"] is True,
            leaves=None if leaves is None else int(leaves),
            examination=int(values.get("examination", 0)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise HomeError(
            f"{path} is damaged", got=repr(content[:40]), remedy="Delete it, or run gossipfl peer resume."
        ) from error


def write_requests(path: Path, requests: Requests) -> None:
    """Replace the file of requests.

    Raises
    ------
    HomeError
        It cannot be written.
    """
    with named_errors(f"{path} cannot be written"):
        write_atomically(path, json.dumps(asdict(requests)).encode())


def request_pause(path: Path, *, paused: bool) -> None:
    """Ask a peer to pause, or to go on.

    Raises
    ------
    HomeError
        The file cannot be written or, to pause, is damaged.
    """
    try:
        wanted = read_requests(path)
    except HomeError:
        if paused:
            raise
        wanted = Requests()
    write_requests(path, replace(wanted, paused=paused))


def request_leave(path: Path, *, incarnation: int) -> None:
    """Ask one start of a peer to say farewell and end.

    Raises
    ------
    HomeError
        The file cannot be written.
    """
    write_requests(path, replace(read_requests(path), leaves=incarnation))


def request_examination(path: Path, *, number: int) -> None:
    """Ask a running peer for an examination with a number that none had before.

    Raises
    ------
    HomeError
        The file cannot be written.
    """
    write_requests(path, replace(read_requests(path), examination=number))


async def obey(
    path: Path,
    *,
    incarnation: int,
    permissions: Permissions,
    conditions: Conditions,
    leave: Callable[[], None],
    examine: Callable[[int], None] = lambda _: None,
) -> None:
    """Carry out requests as they are made, until cancelled.

    Parameters
    ----------
    incarnation : int
        Number of this start.
    permissions : Permissions
        Told to pause and to resume.
    leave : callable
        Called once if this start is to leave.
    examine : callable, optional
        Called with the number of each examination that is asked for.
    """
    before, trouble = Requests(), ""
    while True:
        try:
            now, trouble = read_requests(path), ""
        except HomeError as error:
            now = before
            if str(error) != trouble:
                trouble = str(error)
                logger.warning("%s", error)
        if now.leaves == incarnation != before.leaves:
            leave()
        if now.examination != before.examination:
            examine(now.examination)
        if now.paused != before.paused:
            if now.paused:
                permissions.pause()
                conditions.note("paused", _PAUSED)
            else:
                permissions.resume()
                conditions.clear("paused")
            logger.info("%s", "paused: no training and no merging" if now.paused else "resumed")
        before = now
        await trio.sleep(_LOOK_SECONDS)
