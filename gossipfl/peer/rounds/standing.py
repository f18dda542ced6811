"""A member's standing among the others in rounds: gathered with them, behind them or ahead."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import trio

from gossipfl.peer.rounds.conversation import Conversation
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.members import Members
from gossipfl.settings import RoundsSettings

__all__ = ["Standing"]

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Standing:
    """A member's place in the rounds, compared with what others say of theirs."""

    settings: RoundsSettings
    mailbox: Mailbox
    members: Members
    conversation: Conversation

    async def gather(self) -> None:
        """Wait until all members are present, or the rounds have begun without this peer."""
        others = self.members.others

        def ready() -> bool:
            heard = len(self.mailbox.claims)
            # Nobody believes a minority alone, as whoever answers first may be, that the rounds have begun.
            return heard == len(others) or (
                2 * heard > len(others) and self.is_behind(by=self.settings.ahead)
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.conversation.greet)
            with trio.move_on_after(self.settings.gathering):
                while not ready():
                    await self.mailbox.change()
            nursery.cancel_scope.cancel()
        unheard = [number for number in others if number not in self.mailbox.claims]
        if unheard and not self.is_behind(by=self.settings.ahead):
            logger.warning("starting the rounds without members %s", ", ".join(map(str, unheard)))

    def where_most_are(self) -> int:
        """Return the round that at least half of the others have reached; this peer's own if none is known."""
        most = self.mailbox.where_most_are(within=2 * self.settings.deadline + self.settings.gathering)
        return self.mailbox.position[0] if most is None else most

    def is_behind(self, *, by: int) -> bool:
        """Whether most others are more than so many rounds ahead."""
        return self.where_most_are() > self.mailbox.position[0] + by

    async def let_others_come(self) -> None:
        """Wait, for a few deadlines, until at least half of the others that answer are where this peer is.

        One that hears nothing is done sooner than others whose exchanges last: it would get ever further ahead.
        """
        mailbox, deadline = self.mailbox, self.settings.deadline
        with trio.move_on_after(4 * deadline):
            while mailbox.is_ahead(within=2 * deadline):
                await self.conversation.announce()
                with trio.move_on_after(deadline):
                    while mailbox.is_ahead(within=2 * deadline):
                        await mailbox.change()
