"""The other members as one peer sees them: addresses, progress and absence."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gossipfl.network import Hearsay
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.rounds.plan import Position
from gossipfl.rounds.roster import Roster
from gossipfl.wire import Progress

__all__ = ["Members"]

_VAIN_PATIENCES = 4
#: Of a vain wait, what is forgiven with each exchange in which nobody waited.
_FORGIVEN = 1 / 16


class Members:
    """Members of the roster.

    A member that missed ``patience`` rows in a row is absent until it is heard from. Words are cheap, though: one
    that answers and never does its part would be waited for until the deadline again and again. So it may be
    waited for in vain four times ``patience`` times, then once in sixteen exchanges with it. Each exchange in
    which it does its part makes up for one in which it did not.

    Parameters
    ----------
    number : int
        The peer's own.
    view : AddressBook
        Addresses learned from members.
    mailbox : Mailbox
        Progress of members.
    patience : int
        Consecutive missed rows after which a member is absent.
    """

    def __init__(
        self, *, roster: Roster, number: int, view: AddressBook, mailbox: Mailbox, patience: int
    ) -> None:
        self._roster = roster
        self._view = view
        self._mailbox = mailbox
        self._patience = patience
        self._missed: Counter[int] = Counter()
        self._vain: dict[int, float] = {}
        self.others = tuple(each for each in range(len(roster)) if each != number)

    def peer_id(self, number: int) -> str:
        """Return a member's peer id."""
        return self._roster.members[number]

    def label(self, number: int) -> str:
        """Return a member's name for the log."""
        return f"member {number} ({self.peer_id(number)[:16]}…)"

    def number(self, peer_id: str) -> int:
        """Return a member's number; the host admits no other peers."""
        return self._roster.number_of(peer_id)

    def addresses(self, number: int) -> tuple[str | Hearsay, ...]:
        """Return the addresses to try for a member: first the learned ones, then the roster's."""
        peer_id = self.peer_id(number)
        configured = self._roster.addresses[peer_id]
        told = next((each.addresses for each in self._view.known if each.peer_id == peer_id), ())
        return (*told, *(address for address in configured if address not in told))

    def heard(self, number: int, progress: Progress) -> None:
        """Record a member's progress; if it keeps up, it is waited for again."""
        position = (progress.round, progress.exchange)
        self._mailbox.note(number, incarnation=progress.incarnation, position=position)
        self.present(number, round_number=progress.round)

    def asked(self, number: int, position: Position) -> None:
        """Record that a member asked for this peer's part in its sum, which it does in the exchange of the sum."""
        claim = self._mailbox.claims.get(number)
        self._mailbox.note(number, incarnation=claim.incarnation if claim else 0, position=position)
        self.present(number, round_number=position[0])

    def present(self, number: int, *, round_number: int) -> None:
        """Record that a member was heard from; one that is behind is still not waited for."""
        if round_number >= self._mailbox.position[0]:
            self._missed.pop(number, None)

    def expected(self, number: int, *, arrived: bool) -> None:
        """Record whether an expected row arrived."""
        cost = -1.0 if arrived else -_FORGIVEN if self.is_absent(number) else 1.0
        self._vain[number] = max(0.0, self._vain.get(number, 0.0) + cost)
        if arrived:
            self._missed.pop(number, None)
        else:
            self._missed[number] += 1

    def is_absent(self, number: int) -> bool:
        """Return whether a member missed so many exchanges that it is not waited for."""
        most = _VAIN_PATIENCES * self._patience
        return self._missed[number] >= self._patience or self._vain.get(number, 0.0) > most - 1

    def absent(self) -> tuple[int, ...]:
        """Return the members that are not waited for."""
        return tuple(number for number in self.others if self.is_absent(number))

    def described(self) -> dict[str, Any]:
        """Return the members' presence and consecutive missed exchanges, for the status."""
        return {
            "heard": len(self._mailbox.claims),
            "absent": list(self.absent()),
            "missed": {str(number): count for number, count in sorted(self._missed.items())},
            "late": self._mailbox.late,
        }
