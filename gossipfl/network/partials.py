"""Bodies of frames that a broken connection cut off, kept for a while so that their senders need not begin again.

Only memory that nothing else needs is spent on them: a new row takes it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import xxhash

from gossipfl.recent import RecentMap

__all__ = [
    "CHUNK_BYTES",
    "LEAST_BYTES_CONTINUED",
    "Partial",
    "Partials",
    "UnderWay",
    "chunk_digests",
    "key_of",
]

#: Bodies are continued at multiples of this many bytes.
CHUNK_BYTES: Final = 1 << 20
#: Smaller frames are sent again.
LEAST_BYTES_CONTINUED: Final = 4 * CHUNK_BYTES
_MOST_PARTIALS: Final = 8
_MOST_COMPLETED: Final = 256
_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """The beginning of a body.

    Parameters
    ----------
    key : bytes
        Digest of the preamble and the header before it.
    body : memoryview
        As long as the whole body will be; only the first ``size`` bytes, whole chunks, have been received.
    """

    key: bytes
    body: memoryview
    size: int
    since: float


@dataclass(frozen=True, slots=True, eq=False)
class UnderWay:
    """A body that is being received.

    Parameters
    ----------
    received : callable
        Returns the bytes that have been.
    end : callable
        Called when its sender goes on over another connection.
    """

    body: memoryview
    received: Callable[[], int]
    end: Callable[[], None]


class Partials:
    """One beginning for each of a few senders, within limits of number, memory and time.

    Parameters
    ----------
    clock : callable
        Returns seconds.

    Attributes
    ----------
    under_way : dict
        The bodies that are being received, by sender and key.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.under_way: dict[tuple[str, bytes], UnderWay] = {}
        self._of: dict[str, Partial] = {}
        self._completed: RecentMap[str, bytes] = RecentMap(_MOST_COMPLETED)

    @property
    def size(self) -> int:
        """Bytes received in all of them."""
        return sum(each.size for each in self._of.values())

    def keep(self, sender: str, key: bytes, body: memoryview, received: int) -> None:
        """Keep the whole chunks of what was received of a body, in the place of the sender's last."""
        self._of.pop(sender, None)
        size = received // CHUNK_BYTES * CHUNK_BYTES
        if size:
            self._of[sender] = Partial(key, body, size, self._clock())
        while len(self._of) > _MOST_PARTIALS:
            self._drop_oldest()

    def take(self, sender: str, key: bytes, size: int) -> Partial | None:
        """Take out what was kept of a sender's body of so many bytes, if it is the same.

        If it is still being received over a connection that the sender has given up, that ends.
        """
        self.expire()
        old = self.under_way.pop((sender, key), None)
        if old is not None and len(old.body) == size:
            old.end()
            self.keep(sender, key, old.body, old.received())
        kept = self._of.get(sender)
        if kept is None or kept.key != key or len(kept.body) != size:
            return None
        return self._of.pop(sender)

    def complete(self, sender: str, key: bytes) -> None:
        """Remember that a sender's body has arrived whole; what was kept of another one is of no use."""
        self._completed[sender] = key
        self._of.pop(sender, None)

    def is_complete(self, sender: str, key: bytes) -> bool:
        """Whether it is the last that arrived whole."""
        return self._completed.get(sender) == key

    def shrink_to(self, size: int) -> None:
        """Drop the oldest until the others have at most so many bytes."""
        while self._of and self.size > size:
            self._drop_oldest()

    def expire(self) -> None:
        """Drop those that nobody has continued in time."""
        oldest = self._clock() - _SECONDS
        for sender in [sender for sender, each in self._of.items() if each.since < oldest]:
            del self._of[sender]

    def _drop_oldest(self) -> None:
        del self._of[next(iter(self._of))]


def key_of(*head: bytes | memoryview) -> bytes:
    """Digest of the parts of a preamble and a header."""
    digest = xxhash.xxh3_128()
    for part in head:
        digest.update(part)
    return digest.digest()


def chunk_digests(buffers: tuple[memoryview, ...], size: int) -> list[int]:
    """Return xxh3_64 (seed 0) of each whole chunk in the first ``size`` bytes of buffers, one after the other."""
    digests: list[int] = []
    digest, missing = xxhash.xxh3_64(), CHUNK_BYTES
    for buffer in buffers:
        rest = buffer.cast("B")
        while rest and len(digests) < size // CHUNK_BYTES:
            digest.update(rest[:missing])
            rest, missing = rest[missing:], missing - len(rest[:missing])
            if not missing:
                digests.append(digest.intdigest())
                digest, missing = xxhash.xxh3_64(), CHUNK_BYTES
    return digests
