"""Detection of two peers that use one identity, for example after a machine was cloned."""

from __future__ import annotations

from collections.abc import Callable

from gossipfl.errors import IdentityInUseTwice
from gossipfl.recent import RecentMap
from gossipfl.wire import PeerDescriptor

__all__ = ["Doubles"]

# A single sign may be due to a clock set back between two starts, which the peer compensates for immediately.
_SIGNS = 3
_MOST = 1024


class Doubles:
    """Counts announcements of an identity that no single peer would make.

    A peer's announcements have increasing numbers. Two peers that share a key do not know each other's: one's
    announcement is older than what the other has already announced, and each keeps receiving numbers under its own
    identity that are ahead of its own.

    Parameters
    ----------
    report : callable
        Called with an error that names both places, at the third sign and whenever their number has doubled.
    """

    def __init__(self, report: Callable[[IdentityInUseTwice], None]) -> None:
        self._report = report
        self._signs: RecentMap[str, tuple[int, int]] = RecentMap(_MOST)

    def of_oneself(self, told: PeerDescriptor, own: PeerDescriptor) -> None:
        """Record a signed announcement under this peer's identity that is ahead of its own."""
        if set(told.addresses) == set(own.addresses):
            return
        count = self._count(own.peer_id, told.sequence)
        if _is_due(count):
            self._report(
                IdentityInUseTwice(
                    "another peer uses this peer's identity",
                    expected=f"one peer {own.peer_id}, here at {_places(own)}",
                    got=f"{count} newer announcements with its key, the last from {_places(told)}",
                    remedy="If this machine or the peer's home was copied, stop one of the two, and give it a "
                    "new home with `gossipfl peer init`.",
                )
            )

    def of_another(self, told: PeerDescriptor, known: PeerDescriptor) -> None:
        """Record a peer's announcement of itself that is older than its newest known one."""
        if told.sequence >= known.sequence or set(told.addresses) == set(known.addresses):
            return
        count = self._count(told.peer_id, known.sequence)
        if _is_due(count):
            self._report(
                IdentityInUseTwice(
                    f"two peers use the identity {told.peer_id}",
                    expected="one peer, at one place at a time",
                    got=f"one at {_places(told)} and one at {_places(known)}, alternating",
                    remedy="Tell their operator: a machine or a home was copied, and one of the two needs a new "
                    "home (`gossipfl peer init`).",
                )
            )

    def _count(self, peer_id: str, sequence: int) -> int:
        """Return the number of signs, each with a newer announcement; 0 if this one is not newer."""
        count, newest = self._signs.get(peer_id, (0, -1))
        is_new = sequence > newest
        self._signs[peer_id] = (count + 1, sequence) if is_new else (count, newest)
        return count + 1 if is_new else 0


def _is_due(count: int) -> bool:
    return count >= _SIGNS and count % _SIGNS == 0 and (count // _SIGNS).bit_count() == 1


def _places(descriptor: PeerDescriptor) -> str:
    return ", ".join(descriptor.addresses) or "no address"
