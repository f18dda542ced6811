"""Signs that two peers use one identity, such as after a machine was cloned."""

from __future__ import annotations

from collections.abc import Callable

from gossipfl.errors import IdentityInUseTwice
from gossipfl.recent import RecentMap
from gossipfl.wire import PeerDescriptor

__all__ = ["Doubles"]

# One sign may come from a clock that was set back between two starts, which the peer makes up for at once.
_SIGNS = 3
_MOST = 1024


class Doubles:
    """Counts announcements of one identity that no single peer makes.

    A peer numbers its announcements upwards. Of two that share a key, each knows nothing of the other's: what one
    says of itself is older than what the other has said already, and the numbers that either hears of itself are
    ahead of its own, again and again.

    Parameters
    ----------
    report : callable
        Takes an error that names both places: at the third sign, and whenever their number has doubled.
    """

    def __init__(self, report: Callable[[IdentityInUseTwice], None]) -> None:
        self._report = report
        self._signs: RecentMap[str, tuple[int, int]] = RecentMap(_MOST)

    def of_oneself(self, told: PeerDescriptor, own: PeerDescriptor) -> None:
        """Note a signed announcement in this peer's name that is ahead of its own."""
        if set(told.addresses) == set(own.addresses):
            return
        count = self._count(own.peer_id, told.sequence)
        if _is_to_be_told(count):
            self._report(
                IdentityInUseTwice(
                    "another peer uses this peer's identity",
                    expected=f"one peer {own.peer_id}, here at {_places(own)}",
                    got=f"{count} newer announcements with its key, the last from {_places(told)}",
                    remedy="If this machine or the peer's home was copied, stop one of the two, and make it a "
                    "home of its own with `gossipfl peer init`.",
                )
            )

    def of_another(self, told: PeerDescriptor, known: PeerDescriptor) -> None:
        """Note what a peer said of itself, which is older than what is known of it in its own words."""
        if told.sequence >= known.sequence or set(told.addresses) == set(known.addresses):
            return
        count = self._count(told.peer_id, known.sequence)
        if _is_to_be_told(count):
            self._report(
                IdentityInUseTwice(
                    f"two peers use the identity {told.peer_id}",
                    expected="one peer, at one place at a time",
                    got=f"one at {_places(told)} and one at {_places(known)}, by turns",
                    remedy="Tell whoever runs them: a machine or a home was copied. One of the two needs a home "
                    "of its own (`gossipfl peer init`).",
                )
            )

    def _count(self, peer_id: str, sequence: int) -> int:
        """How many announcements, each newer than the last, were signs."""
        count, newest = self._signs.get(peer_id, (0, -1))
        is_new = sequence > newest
        self._signs[peer_id] = (count + 1, sequence) if is_new else (count, newest)
        return count + 1 if is_new else 0


def _is_to_be_told(count: int) -> bool:
    return count >= _SIGNS and count % _SIGNS == 0 and (count // _SIGNS).bit_count() == 1


def _places(descriptor: PeerDescriptor) -> str:
    return ", ".join(descriptor.addresses) or "no address"
