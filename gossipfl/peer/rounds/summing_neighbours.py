"""Those whom a peer asks for masked sums: what they are asked, which keys they know, and who is left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from gossipfl.errors import MessageRefused, SumKeyForged
from gossipfl.membership.codec import Reader
from gossipfl.network import Host
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.members import Members
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.secure import Introduction, KeyBook, SealingKey, SignedKey
from gossipfl.wire import SumMessage, SumStep, encode

__all__ = ["Neighbourhood"]

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Neighbourhood:
    """Whom a peer asks for masked sums, and which keys it has passed on to each.

    Parameters
    ----------
    key : SealingKey
        The peer's own.
    keys : KeyBook
        Those of all members that it has met.
    """

    host: Host
    plan: RoundsPlan
    members: Members
    mailbox: Mailbox
    key: SealingKey
    keys: KeyBook

    def __post_init__(self) -> None:
        self.errors = FirstErrors(logger)
        self._told: dict[int, dict[int, bytes]] = {}  # to each neighbour, the last key of each member
        self._excluded: dict[int, SignedKey] = {}

    async def ask(
        self, number: int, position: Position, step: SumStep, content: bytes, *, until: float
    ) -> bytes:
        """Ask a neighbour, and return the content of its answer.

        Raises
        ------
        ExchangeFailed, MessageRefused
        """
        question = SumMessage(
            agreement=self.plan.agreement,
            round=position[0],
            exchange=position[1],
            step=int(step),
            content=content,
        )
        reply = await self.host.exchange(
            self.members.peer_id(number),
            self.members.addresses(number),
            encode(question),
            seconds=max(until - trio.current_time(), 0.01),
        )
        if not isinstance(reply, SumMessage) or reply.step != step:
            raise MessageRefused("the answer is of another step of the sum", got=type(reply).__name__)
        return reply.content

    async def introduce(
        self, number: int, position: Position, around: Iterable[int], *, until: float
    ) -> None:
        """Get a neighbour's key, and tell it those that it has not been told.

        Raises
        ------
        ExchangeFailed, MessageRefused
        """
        news = [self.keys.key_of(each) for each in self.untold(number, around)]
        content = Introduction(tuple(news)).to_bytes()
        reader = Reader(
            await self.ask(number, position, SumStep.INTRODUCTION, content, until=until), what="key"
        )
        key = SignedKey.read(reader)
        reader.end()
        if key.number != number:
            raise SumKeyForged("a member answered with another's key", expected=number, got=key.number)
        before = self.keys.key_of(number) if number in self.keys else None
        self.keys.admit(key)
        told = self._told.setdefault(number, {})
        if before is not None and before != key:  # it has started again, and forgotten
            told.clear()
        told.update((each.number, each.public) for each in news)

    def untold(self, number: int, around: Iterable[int]) -> list[int]:
        """Return those around whose keys a neighbour has not been told."""
        told = self._told.get(number, {})
        known = [each for each in around if each != number and each in self.keys]
        return [each for each in known if self.keys.key_of(each).public != told.get(each)]

    @property
    def excluded(self) -> tuple[int, ...]:
        """Numbers of the members that are not invited, because their shares were wrong since their last start."""
        return tuple(sorted(filter(self.excludes, self._excluded)))

    def excludes(self, number: int) -> bool:
        """Return whether a member is not invited."""
        return number in self._excluded and self.keys.key_of(number) == self._excluded[number]

    def exclude(self, numbers: Iterable[int], *, because: str) -> None:
        """Invite members no longer, until they start again."""
        for number in numbers:
            self._excluded[number] = self.keys.key_of(number)
            logger.warning("%s: %s; it is left out of masked sums", self.members.label(number), because)

    def forgets(self, number: int) -> None:
        """Assume that a neighbour knows nobody's key."""
        self._told.pop(number, None)
