"""Rows received for the current and later exchanges, and the other members' reported progress.

It does no I/O, but a task can wait for changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio
from torch import Tensor

from gossipfl.errors import PeerBusy, ReplayedMessage, UnexpectedRound
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.wire import Progress, RoundHeader, RoundMessage, SumMessage

__all__ = ["Claim", "Mailbox", "Received"]

#: Latest round that is credible: a round each microsecond for twelve days.
LATEST_ROUND = 2**40


@dataclass(frozen=True, slots=True)
class Received:
    """A row that arrived in time, and the number of its sender's start."""

    incarnation: int
    row: Tensor


@dataclass(frozen=True, slots=True)
class Claim:
    """A member's last reported position.

    Parameters
    ----------
    heard : float
        Time of the report, in seconds of the mailbox's clock.
    """

    incarnation: int
    position: Position
    heard: float


@dataclass(kw_only=True, eq=False)
class Mailbox:
    """Messages from other members.

    Memory is bounded by the plan: for the current round and `ahead` later ones, each neighbour may have one row
    waiting for each exchange, of the size that the exchange implies.

    Parameters
    ----------
    ahead : int
        Number of later rounds from which rows are kept.
    position : Position
        The peer's current position.
    clock : callable
        Returns seconds, for `Claim.heard`.
    """

    plan: RoundsPlan
    ahead: int
    position: Position
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._kept: dict[Position, dict[int, Received]] = {}
        self._changed = trio.Event()
        self.claims: dict[int, Claim] = {}
        self.silent = False
        """Whether this peer sends no rows any more: it then tells others that it is past the exchange it is in."""
        self.late = 0
        """Number of rows that arrived after their exchange had ended."""

    def screen(self, sender: int, header: RoundHeader | Progress | SumMessage) -> None:
        """Refuse a message before its body is read, if its header is reason enough.

        Raises
        ------
        UnexpectedRound
            The round is impossible, or the sender is not a neighbour in it.
        ReplayedMessage
            The row has been received before.
        PeerBusy
            The row's round is too far ahead to be kept; the sender's position is remembered.
        """
        if header.round > LATEST_ROUND:
            raise UnexpectedRound(
                "the round is implausibly late", expected=f"a round up to {LATEST_ROUND}", got=header.round
            )
        if isinstance(header, Progress | SumMessage):
            return
        position = (header.round, header.exchange)
        # First of all: whose neighbour a member is in a distant round can take long to find out.
        if header.round > self.position[0] + self.ahead:
            self.note(sender, incarnation=header.incarnation, position=position)
            raise PeerBusy(f"the row is for round {header.round}, but this peer is in {self.position[0]}")
        if position >= self.position:
            self._require_neighbour(sender, header)
            if sender in self._kept.get(position, {}):
                raise ReplayedMessage(
                    f"a row for exchange {header.exchange} of round {header.round} has been received already",
                    remedy="Each start of a peer does each round once.",
                )

    def keep(self, sender: int, message: RoundMessage) -> bool:
        """Keep a complete row, or return False if its exchange has ended.

        Raises
        ------
        UnexpectedRound, ReplayedMessage, PeerBusy
            As in `screen`, since time has passed meanwhile.
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
        """Remember a member's position, unless a later one is known."""
        known = self.claims.get(sender)
        if known is None or (incarnation, position) >= (known.incarnation, known.position):
            self.claims[sender] = Claim(incarnation, position, self.clock())
            self.wake()

    def has_passed(self, sender: int) -> bool:
        """Return whether a member is known to be past the current exchange, and so will send no row for it."""
        claim = self.claims.get(sender)
        return claim is not None and claim.position > self.position

    def rows(self) -> dict[int, Received]:
        """Return the rows received for the current exchange, by number of the sender."""
        return self._kept.get(self.position, {})

    def advance(self, position: Position) -> None:
        """Move on to a later exchange; rows for earlier ones are dropped."""
        self.position = position
        for old in [each for each in self._kept if each < position]:
            del self._kept[old]
        self.wake()

    def where_most_are(self, *, within: float) -> int | None:
        """Return the round reached by at least half of the members heard from recently; None if there are none.

        One liar among three cannot influence it.

        Parameters
        ----------
        within : float
            Seconds since a member must have been heard from.
        """
        since = self.clock() - within
        rounds = sorted(claim.position[0] for claim in self.claims.values() if claim.heard >= since)
        return rounds[(len(rounds) - 1) // 2] if rounds else None

    def is_ahead(self, *, within: float) -> bool:
        """Return whether at least half of the members heard from recently have not reached this peer's round."""
        most = self.where_most_are(within=within)
        return most is not None and most < self.position[0]

    def wake(self) -> None:
        """Wake the waiting task."""
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        """Wait until something changes."""
        await self._changed.wait()

    def _require_neighbour(self, sender: int, header: RoundHeader) -> None:
        step = self.plan.steps[header.exchange]
        if sender not in step.senders(self.plan.mixing, header.round, self.plan.number):
            raise UnexpectedRound(
                f"member {sender} has no {step.what} for this peer in exchange {header.exchange} "
                f"of round {header.round}",
                remedy="Both peers must run the same version of gossipfl.",
            )
