"""Exchanges in which summaries go to all neighbours, and rows to those alone who ask for them then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gossipfl.codecs import FLOAT32, PayloadTensor
from gossipfl.peer.rounds.exchanging import Exchanged, Exchanger
from gossipfl.peer.rounds.framing import Framing
from gossipfl.peer.threads import run_abandonable
from gossipfl.rounds.member_rows import Outgoing
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.rounds.previews import summaries_of, wanted_among
from gossipfl.wire import Frame

__all__ = ["PreviewedExchanger"]

_NOTHING = Exchanged(received={}, missing=(), untaken=(), too_late=False)
_YES, _NO = (FLOAT32.encode(torch.tensor([wish]), key=0) for wish in (1.0, 0.0))


@dataclass(kw_only=True, eq=False)
class PreviewedExchanger:
    """Carries out exchanges in three steps, each with a deadline of its own: summaries, wishes, rows.

    There are two where receivers choose without summaries. A step waits for nobody who was silent in the one
    before. What is sent without having been asked for is not used.
    """

    exchanger: Exchanger
    plan: RoundsPlan
    framing: Framing

    async def exchange(self, position: Position, out: Outgoing, *, sends: bool, listening: bool) -> Exchanged:
        """Do an exchange.

        Parameters
        ----------
        position : Position
            Of the algorithm's exchange.
        out : Outgoing
        sends : bool
            Whether the peer's own row may be sent.
        listening : bool
            Whether the peer wants all rows.
        """
        number, place = self.plan.on_the_wire(position)
        recipients, shown = (out.payloads.keys() if sends else set[int]()), _NOTHING
        arrived: dict[int, torch.Tensor] = {}
        answered = {*out.neighbours}
        if out.form.summary:
            summaries = await run_abandonable(summaries_of, out) if sends else {}
            shown = await self.exchanger.exchange(self._frames((number, place), summaries), out.neighbours)
            arrived = {each: received.row for each, received in shown.received.items()}
            answered = {*arrived}
            recipients, place = summaries.keys() - {*shown.untaken}, place + 1
            self.exchanger.mailbox.advance((number, place))
        wanted = frozenset(answered)
        if not listening:
            wanted = await run_abandonable(wanted_among, self.plan, position, out, arrived)
        wishes = {each: _YES if each in wanted else _NO for each in sorted(answered)}
        wished = await self.exchanger.exchange(self._frames((number, place), wishes), recipients)
        asking = [each for each, wish in wished.received.items() if float(wish.row[0]) > 0.5]
        payloads = {each: out.payloads[each] for each in sorted(asking) if sends and each in out.payloads}
        self.exchanger.mailbox.advance((number, place + 1))
        frames = self.framing.frames((number, place + 1), payloads, codec=out.codec.name)
        heard = shown if out.form.summary else wished  # in the first step
        sent = await self.exchanger.exchange(frames, wanted - {*heard.missing})
        unserved = {*out.payloads} - {*payloads}
        return Exchanged(
            received={each: sent.received[each] for each in sorted(wanted & sent.received.keys())},
            missing=tuple(sorted({*shown.missing, *(wanted - sent.received.keys())})),
            untaken=tuple(sorted({*sent.untaken, *unserved})),
            too_late=heard.too_late or sent.too_late,
            unsent=tuple(sorted({*sent.unsent, *unserved})),
            unwanted=tuple(sorted(answered - wanted)),
        )

    def _frames(
        self, position: Position, payloads: Mapping[int, tuple[PayloadTensor, ...]]
    ) -> dict[int, Frame]:
        return self.framing.frames(position, payloads, codec=FLOAT32.name)
