"""Detection of two peers that use one identity, for example after a machine was cloned."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import IdentityInUseTwice
from gossipfl.recent import RecentMap
from gossipfl.wire import PeerDescriptor

__all__ = ["LASTING_SECONDS", "REMINDER_SECONDS", "STOP_ONE_COPY", "Doubles"]

#: Time after the last sign until two peers are taken for one again.
LASTING_SECONDS: Final = 900.0
#: What the operator of a peer of which another copy is running should do.
STOP_ONE_COPY: Final = (
    "If this machine or the peer's home was copied, stop one of the two, and give it a new home with "
    "`gossipfl peer init`."
)
# A single sign may be due to a clock set back between two starts, which the peer compensates for immediately.
_SIGNS: Final = 3
#: Time between two reports of the same copy.
REMINDER_SECONDS: Final = LASTING_SECONDS / 3
_MOST: Final = 1024


@dataclass(frozen=True, slots=True)
class _Signs:
    count: int
    newest: int
    seen_at: float
    reported_at: float = float("-inf")


class Doubles:
    """Counts announcements of an identity that no single peer would make.

    A peer's announcements have increasing numbers. Two peers that share a key do not know each other's: one's
    announcement is older than what the other has already announced, and each keeps receiving numbers under its own
    identity that are ahead of its own.

    Parameters
    ----------
    report : callable
        Called with an error that names both places: at the third sign, whenever their number has doubled, and
        every five minutes while there are new ones.
    clock : callable, optional
        Returns seconds, of a clock that does not jump.
    """

    def __init__(
        self,
        report: Callable[[IdentityInUseTwice], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._clock = clock
        self._signs: RecentMap[str, _Signs] = RecentMap(_MOST)

    def of_oneself(self, told: PeerDescriptor, own: PeerDescriptor) -> None:
        """Record a signed announcement under this peer's identity that is ahead of its own."""
        if set(told.addresses) == set(own.addresses):
            return
        count = self._count_to_report(own.peer_id, told.sequence)
        if count:
            self._report(
                IdentityInUseTwice(
                    "another peer uses this peer's identity",
                    expected=f"one peer {own.peer_id}, here at {_places(own)}",
                    got=f"{count} newer announcements with its key, the last from {_places(told)}",
                    remedy=STOP_ONE_COPY,
                )
            )

    def of_another(self, told: PeerDescriptor, known: PeerDescriptor) -> None:
        """Record a peer's announcement of itself that is older than its newest known one."""
        if told.sequence >= known.sequence or set(told.addresses) == set(known.addresses):
            return
        count = self._count_to_report(told.peer_id, known.sequence)
        if count:
            self._report(
                IdentityInUseTwice(
                    f"two peers use the identity {told.peer_id}",
                    expected="one peer, at one place at a time",
                    got=f"one at {_places(told)} and one at {_places(known)}, alternating",
                    remedy="Tell their operator: a machine or a home was copied, and one of the two needs a new "
                    "home (`gossipfl peer init`).",
                )
            )

    def _count_to_report(self, peer_id: str, sequence: int) -> int:
        """Count a sign if its announcement is a newer one; return the number of signs if it is time to report."""
        now = self._clock()
        before = self._signs.get(peer_id, _Signs(0, -1, now))
        if sequence <= before.newest:
            return 0
        has_ended = now - before.seen_at > LASTING_SECONDS
        count = 1 if has_ended else before.count + 1
        is_due = _is_due(count) or (count > _SIGNS and now - before.reported_at >= REMINDER_SECONDS)
        self._signs[peer_id] = _Signs(count, sequence, now, now if is_due else before.reported_at)
        return count if is_due else 0


def _is_due(count: int) -> bool:
    return count >= _SIGNS and count % _SIGNS == 0 and (count // _SIGNS).bit_count() == 1


def _places(descriptor: PeerDescriptor) -> str:
    return ", ".join(descriptor.addresses) or "no address"
