"""The way in which a plan exchanges rows: as they are, after previews, or masked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from gossipfl.peer.rounds.conversation import Conversation
from gossipfl.peer.rounds.exchanging import Exchanged, Exchanger
from gossipfl.peer.rounds.framing import Framing
from gossipfl.peer.rounds.masked_exchanging import MaskedExchanger
from gossipfl.peer.rounds.previewing import PreviewedExchanger
from gossipfl.rounds.member_rows import Outgoing, encoded_for
from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.rounds.plan import RoundsPlan

__all__ = ["WayOfExchange"]


@dataclass(kw_only=True, eq=False)
class WayOfExchange:
    """Carries out a member's exchanges as its plan has them.

    Parameters
    ----------
    masked : MaskedExchanger or None
        For sums without summands.
    """

    plan: RoundsPlan
    framing: Framing
    exchanger: Exchanger
    masked: MaskedExchanger | None
    conversation: Conversation

    def __post_init__(self) -> None:
        self._previewed = PreviewedExchanger(exchanger=self.exchanger, plan=self.plan, framing=self.framing)

    def recipients(self, position: tuple[int, int], form: ExchangeForm) -> tuple[int, ...]:
        """Members to whom the peer's rows go."""
        return self.plan.mixing.recipients(position[0], form, self.plan.number)

    def without(self, position: tuple[int, int], out: Outgoing) -> Exchanged:
        """Return the outcome of an exchange that is not carried out."""
        unsent = self.recipients(position, out.form)
        return Exchanged(received={}, missing=out.neighbours, untaken=(), too_late=False, unsent=unsent)

    async def exchange(
        self, position: tuple[int, int], out: Outgoing, *, sends: bool, listening: bool
    ) -> Exchanged:
        """Do an exchange.

        Parameters
        ----------
        position : tuple of int
            Round, and exchange of the algorithm.
        out : Outgoing
        sends : bool
            Whether the peer's own rows may be sent.
        listening : bool
            Whether the peer only hears the others, to adopt their models.
        """
        recipients = self.recipients(position, out.form)
        if self.exchanger.mailbox.silent:  # nobody need wait for it
            await self.conversation.announce()
        if self.plan.previews(position[1]):
            result = await self._previewed.exchange(position, out, sends=sends, listening=listening)
        elif self.masked is None:
            place = self.plan.on_the_wire(position)
            frames = self.framing.frames(place, out.payloads, codec=out.codec.name) if sends else {}
            result = await self.exchanger.exchange(frames, out.neighbours)
        else:
            result = await self.masked.exchange(
                position,
                recipients=recipients if sends else (),
                encoded=partial(encoded_for, self.plan, position, out),
                framed=partial(self.framing.frame, position, codec=out.codec.name),
                neighbours=out.neighbours,
            )
        if sends:
            return result
        # What a listener does not send nobody misses; else it keeps the mass that others did not get.
        return replace(result, untaken=() if listening else recipients, unsent=recipients)
