"""Earlier versions of a peer's own model, to which it can go back: in memory or, of large models, on disk."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gossipfl.files import temporary_beside
from gossipfl.peer.gossip.events import State
from gossipfl.training import Nodes

__all__ = ["LARGE_BYTES", "GoodVersion", "InMemory", "OnDisk", "is_large", "kept_on_disk"]

logger = logging.getLogger(__name__)

#: Models from this size on are kept in memory no more often than necessary.
LARGE_BYTES: Final = 32 * 1024 * 1024


class GoodVersion(Protocol):
    """A version of the model."""

    @property
    def event(self) -> int:
        """Number of the event that produced it."""
        ...

    def nodes(self) -> Nodes:
        """Return the version; raises `CorruptCheckpoint` or `HomeError` if the disk has lost it."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """A version that is kept as it is."""

    state: State

    @property
    def event(self) -> int:
        """Number of the event that produced it."""
        return self.state.event

    def nodes(self) -> Nodes:
        """Return the version."""
        return self.state.nodes


class OnDisk:
    """A checkpoint that stays readable after it was replaced, until this object is gone.

    Parameters
    ----------
    checkpoint : Path
        File of the version.
    event : int
    read : callable
        Reads a checkpoint.

    Raises
    ------
    OSError
        The file system has no hard links.
    """

    def __init__(self, checkpoint: Path, event: int, read: Callable[[Path], Nodes]) -> None:
        self.event = event
        self._read = read
        # The name of a temporary file: what a crash leaves is removed at the next start.
        self._path = temporary_beside(checkpoint)
        os.link(checkpoint, self._path)
        weakref.finalize(self, _remove, self._path)

    def nodes(self) -> Nodes:
        """Return the version."""
        return self._read(self._path)


def is_large(nodes: Nodes) -> bool:
    """Whether a second copy of a model, and of what belongs to it, is too much to hold in memory."""
    return nodes.rows.nbytes + nodes.optimiser_state.nbytes >= LARGE_BYTES


def kept_on_disk(checkpoint: Path, read: Callable[[Path], Nodes]) -> Callable[[State], GoodVersion]:
    """Return what keeps a state that has just been saved: large ones are kept as files.

    Parameters
    ----------
    checkpoint : Path
        Where it was saved.
    read : callable
        Reads a checkpoint.
    """

    def kept(state: State) -> GoodVersion:
        if is_large(state.nodes):
            try:
                return OnDisk(checkpoint, state.event, read)
            except OSError as error:
                logger.info("an earlier version of the model is kept in memory: %s", error.strerror)
        return InMemory(state)

    return kept


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
