"""A host's link: its two directions, and which rows of an exchange they have room for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import trio

from gossipfl.network.lane import Lane
from gossipfl.network.throughput import PathThroughput
from gossipfl.recent import RecentMap
from gossipfl.wire import OFFERED_BYTES

__all__ = ["Link"]

#: The first row may go before as many others have answered, so that both directions are in use.
_ROWS_AHEAD: Final = 4
#: Rows that take longer alone are for an exchange of their own in each direction.
_TOGETHER_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.25
_MOST_PEERS: Final = 1024


@dataclass(eq=False)
class Link:
    """Both directions of a host's link, and the paths to its peers."""

    upload: Lane = field(default_factory=Lane)
    download: Lane = field(default_factory=Lane)
    paths: RecentMap[str, PathThroughput] = field(default_factory=lambda: RecentMap(_MOST_PEERS))

    def path(self, peer_id: str) -> PathThroughput:
        """Return the throughput of the paths to and from a peer."""
        self.paths[peer_id] = path = self.paths.get(peer_id) or PathThroughput()
        return path

    def upload_to(self, peer_id: str) -> float | None:
        """Return the bytes a second that this host and the path to a peer carry; None if neither is known.

        Of a path that has carried rows only in the other direction, it is the throughput of that.
        """
        path, known = self.paths.get(peer_id), [self.upload.bytes_per_second]
        if path is not None:
            known.append(path.upload.bytes_per_second or path.download.bytes_per_second)
        return min((each for each in known if each is not None), default=None)

    @property
    def is_full(self) -> bool:
        """Whether rows take up most of the link in either direction, so that others are slow without fault."""
        return self.upload.is_full or self.download.is_full

    def throughput(self, peer_id: str) -> tuple[float | None, float | None]:
        """Return the bytes a second to and from a peer, as far as rows have been exchanged with it."""
        path = self.paths.get(peer_id)
        if path is None:
            return None, None
        return path.upload.bytes_per_second, path.download.bytes_per_second

    def free_directions(self, sent: int, answered: int, *, needs_both: bool = False) -> tuple[bool, bool]:
        """Return whether the link can carry a row of `sent` bytes now, and one of `answered` bytes back.

        A row that would answer one that cannot be sent is asked for at once.

        Parameters
        ----------
        needs_both : bool, optional
            Whether neither is of use without the other.
        """
        sends = _is_small(sent) or not self.upload.seconds_until_free(sent, is_valued=True)
        is_answer = sends and not _is_small(sent) and (needs_both or self.go_together(sent, answered))
        ahead = self._seconds_ahead(sent) if is_answer else None
        asks = _is_small(answered) or not self.download.seconds_until_free(
            answered, is_valued=True, ahead=ahead
        )
        return sends, asks

    def go_together(self, sent: int, answered: int) -> bool:
        """Return whether one exchange should carry both rows, as far as the link is known.

        If they take long, an answer would come when the link had been given to others.
        """
        rows = ((self.upload, sent), (self.download, answered))
        return all(
            _is_small(size) or size <= _TOGETHER_SECONDS * (lane.carries or math.inf) for lane, size in rows
        )

    def may_answer(self, size: int) -> bool:
        """Return whether the link can carry a row of `size` bytes in answer to one, after a few others.

        If it would take long, it goes only where it may begin at once.
        """
        wait = self.upload.seconds_until_free(size, is_valued=True)
        return _is_small(size) or wait <= (self._seconds_ahead(size) if self.go_together(size, 0) else 0.0)

    def _seconds_ahead(self, size: int) -> float:
        """Return by how much a row of `size` bytes may precede the one that answers it."""
        return _ROWS_AHEAD * size / (self.upload.carries or math.inf)

    async def watch(self) -> None:
        """Look at the link now and then, until cancelled."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            for lane in (self.upload, self.download):
                lane.look(trio.current_time())


def _is_small(size: int) -> bool:
    """Whether a row of so many bytes is sent without being offered."""
    return size <= OFFERED_BYTES
