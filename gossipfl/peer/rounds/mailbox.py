"""Rows received for the current exchange and for later ones, and the others' reported progress.

Plain state without I/O, except that one task may wait until something changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio
from torch import Tensor

from gossipfl.errors import PeerBusy, ReplayedMessage, UnexpectedRound
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.wire import Progress, RoundHeader, RoundMessage

__all__ = ["Claim", "Mailbox", "Received"]

#: No later round is believed: a round each microsecond for twelve days.
LATEST_ROUND = 2**40


@dataclass(frozen=True, slots=True)
class Received:
    """A row that arrived in time: the sender's start, and the numbers."""

    incarnation: int
    row: Tensor


@dataclass(frozen=True, slots=True)
class Claim:
    """Where a member was when it was last heard.

    Parameters
    ----------
    incarnation : int
    position : Position
    heard : float
        When, in seconds of the mailbox's clock.
    """

    incarnation: int
    position: Position
    heard: float


class Mailbox:
    """Messages from other members.

    Memory is bounded by the plan: a member may have one row waiting for each exchange of the round under way and
    of ``ahead`` later ones, where it is a neighbour, and none is larger than its exchange implies.

    Parameters
    ----------
    plan : RoundsPlan
    ahead : int
        Rounds ahead of the one under way from which rows are kept.
    position : Position
        What the peer is at.
    clock : callable
        Seconds, for `Claim.heard`.
    """

    def __init__(
        self,
        *,
        plan: RoundsPlan,
        ahead: int,
        position: Position,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._ahead = ahead
        self._clock = clock
        self._kept: dict[Position, dict[int, Received]] = {}
        self._changed = trio.Event()
        self.position = position
        self.claims: dict[int, Claim] = {}
        self.late = 0
        """Rows that arrived after their exchange was over."""

    def screen(self, sender: int, header: RoundHeader | Progress) -> None:
        """Refuse a message before its body is read, where its header suffices for that.

        Raises
        ------
        UnexpectedRound
            If the round cannot be, or the sender is no neighbour in it.
        ReplayedMessage
            If the row came before.
        PeerBusy
            If the row is of a round so far ahead that it is not kept; where the sender is, is remembered.
        """
        if header.round > LATEST_ROUND:
            raise UnexpectedRound(
                "no network can have come so far", expected=f"a round up to {LATEST_ROUND}", got=header.round
            )
        if isinstance(header, Progress):
            return
        position = (header.round, header.exchange)
        if position >= self.position:
            self._require_neighbour(sender, header)
            if sender in self._kept.get(position, {}):
                raise ReplayedMessage(
                    f"a row for exchange {header.exchange} of round {header.round} came before",
                    remedy="A start of a peer does each round once.",
                )
        if header.round > self.position[0] + self._ahead:
            self.note(sender, incarnation=header.incarnation, position=position)
            raise PeerBusy(f"the row is of round {header.round}, and this peer is at {self.position[0]}")

    def keep(self, sender: int, message: RoundMessage) -> bool:
        """Keep a row that was received whole.

        Returns
        -------
        bool
            False if its exchange is over; the row is dropped.

        Raises
        ------
        UnexpectedRound, ReplayedMessage, PeerBusy
            As `screen`: time has passed since then.
        """
        header = message.header
        self.screen(sender, header)
        position = (header.round, header.exchange)
        self.note(sender, incarnation=header.incarnation, position=position)
        if position < self.position:
            self.late += 1
            return False
        self._kept.setdefault(position, {})[sender] = Received(header.incarnation, message.row)
        self.wake()
        return True

    def note(self, sender: int, *, incarnation: int, position: Position) -> None:
        """Remember where a member is, unless that is older news."""
        known = self.claims.get(sender)
        if known is None or (incarnation, position) >= (known.incarnation, known.position):
            self.claims[sender] = Claim(incarnation, position, self._clock())
            self.wake()

    def has_passed(self, sender: int) -> bool:
        """Whether a member is known to be past the exchange under way, and so will send no row for it any more."""
        claim = self.claims.get(sender)
        return claim is not None and claim.position > self.position

    def rows(self) -> dict[int, Received]:
        """Rows received for the current exchange, by number of the sender."""
        return self._kept.get(self.position, {})

    def advance(self, position: Position) -> None:
        """Move on to a later exchange; rows for earlier ones are dropped."""
        self.position = position
        for old in [each for each in self._kept if each < position]:
            del self._kept[old]
        self.wake()

    def where_most_are(self, *, within: float) -> int | None:
        """The round that at least half of the members heard of late have reached; None if none was heard.

        One liar among three cannot move it.

        Parameters
        ----------
        within : float
            Seconds; members heard before that are left out.
        """
        since = self._clock() - within
        rounds = sorted(claim.position[0] for claim in self.claims.values() if claim.heard >= since)
        return rounds[(len(rounds) - 1) // 2] if rounds else None

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        """Wait until something is different."""
        await self._changed.wait()

    def _require_neighbour(self, sender: int, header: RoundHeader) -> None:
        form = self._plan.forms[header.exchange]
        if sender not in self._plan.mixing.neighbours(header.round, form, self._plan.number):
            raise UnexpectedRound(
                f"member {sender} has no row for this peer in exchange {header.exchange} of round {header.round}",
                remedy="Both peers must run the same version of gossipfl.",
            )
