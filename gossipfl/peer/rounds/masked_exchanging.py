"""One exchange of a round with masked sums: the peer's own masked rows, and the sum of its neighbours'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

import torch
import trio

from gossipfl.codecs import PayloadTensor
from gossipfl.errors import GossipflError, InconsistentSum, NumberOutOfRange, SummandsExposed, TooFewSummands
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.rounds.exchanging import Exchanged, Exchanger
from gossipfl.peer.rounds.own_sum import OwnSum
from gossipfl.peer.rounds.summands import Summands
from gossipfl.peer.rounds.summing_neighbours import Neighbourhood
from gossipfl.peer.threads import run_abandonable
from gossipfl.rounds.plan import Position
from gossipfl.rounds.sums import RING_ROWS
from gossipfl.secure import RingRow
from gossipfl.wire import Frame

__all__ = ["MaskedExchanger"]

logger = logging.getLogger(__name__)

_FAILING_DEADLINES = 3  # after a sum that was not had, it is a condition for so long


class MaskedExchanger:
    """Carries out exchanges in which each peer learns the sum of its neighbours' rows alone.

    A peer leaves an exchange once it has its sum and has helped its recipients to theirs, or at the deadline.

    Parameters
    ----------
    exchanger : Exchanger
        Sends frames, and notes who is absent.
    around : Neighbourhood
        Whom this peer asks for its own sums.
    summands : Summands
        Its part in others' sums.
    note : callable
        Told the name and the text of a condition that the operator should know, and for how many seconds.
    """

    def __init__(
        self,
        *,
        exchanger: Exchanger,
        around: Neighbourhood,
        summands: Summands,
        note: Callable[..., None],
    ) -> None:
        self._exchanger, self._around, self._summands = exchanger, around, summands
        self._note = note
        self._mailbox, self._members = exchanger.mailbox, exchanger.members
        self._errors = FirstErrors(logger)
        self._wanted, self._wants = trio.open_memory_channel[OwnSum](16)
        self._sums: dict[Position, OwnSum] = {}
        self.done = self.failed = 0

    async def run(self) -> None:
        """Prepare sums until cancelled."""
        async with trio.open_nursery() as nursery:
            async for own in self._wants:
                nursery.start_soon(own.prepare)

    def prepare(self, position: Position) -> OwnSum | None:
        """Begin to exchange keys and shares for a sum, which needs no row; None if there can be no sum."""
        if position not in self._sums:
            for old in [each for each in self._sums if each < position]:
                del self._sums[old]
            try:
                self._sums[position] = own = OwnSum(self._around, position, deadline=self._exchanger.deadline)
                self._wanted.send_nowait(own)
            except SummandsExposed as error:
                self._failed(position, error)
                return None
        return self._sums[position]

    async def exchange(
        self,
        position: Position,
        *,
        recipients: Collection[int],
        encoded: Callable[[int], RingRow],
        framed: Callable[[tuple[PayloadTensor, ...]], Frame],
        neighbours: Collection[int],
    ) -> Exchanged:
        """Send this peer's rows, masked, and get the sum of its neighbours'.

        Parameters
        ----------
        recipients : collection of int
        encoded : callable
            Returns the ring elements for a recipient.
        framed : callable
            Returns the frame of a payload.
        neighbours : collection of int
        """
        began, taken = trio.current_time(), dict[int, bool]()
        own = self.prepare(position)
        total: list[RingRow] = []
        settled = trio.Event()

        async def receive(own: OwnSum) -> None:
            try:
                total.append(await own.total(began=began))
            except GossipflError as error:
                self._failed(position, error)
            settled.set()
            self._mailbox.wake()

        with trio.move_on_after(self._exchanger.deadline):
            async with trio.open_nursery() as nursery:
                if own is None:
                    settled.set()
                else:
                    nursery.start_soon(receive, own)
                for recipient in recipients:
                    nursery.start_soon(self._send, position, recipient, encoded, framed, taken)
                while not settled.is_set() or any(self._owes(position, each, taken) for each in recipients):
                    await self._mailbox.change()
                nursery.cancel_scope.cancel()
        if total:
            self.done += 1
        elif not settled.is_set():
            self._failed(position, TooFewSummands("the sum was not unmasked before the deadline"))
        received = self._mailbox.rows()
        for number in neighbours:
            if number in received:
                self._members.expected(number, arrived=True)
            elif own is not None and (number in own.silent or self._members.is_absent(number)):
                self._members.expected(number, arrived=False)
        summands = () if own is None or not total else own.receiver.summands
        return Exchanged(
            received={each: received[each] for each in summands},
            missing=tuple(each for each in sorted(neighbours) if each not in summands),
            untaken=tuple(each for each in sorted(recipients) if not taken.get(each)),
            too_late=bool(taken) and not any(taken.values()),
            total=total[0] if total else None,
        )

    def described(self) -> dict[str, Any]:
        """Return how many sums were had and how many were not, and who is left out of them, for the status."""
        return {"done": self.done, "failed": self.failed, "excluded": list(self._around.excluded)}

    def _failed(self, position: Position, error: GossipflError) -> None:
        self.failed += 1
        which = f"the sum of exchange {position[1]} of round {position[0]}"
        self._errors.log(which, error)
        self._note(
            "sums",
            f"{which} was not had, so this peer keeps its own row: {error}",
            seconds=_FAILING_DEADLINES * self._exchanger.deadline,
        )

    def _owes(self, position: Position, recipient: int, taken: dict[int, bool]) -> bool:
        """Whether a recipient may still need something of this peer in the exchange."""
        if self._summands.has_revealed(position, recipient) or self._mailbox.has_passed(recipient):
            return False
        if self._around.excludes(recipient):  # it may ask, and is not waited for
            return False
        if self._members.is_absent(recipient) and self._summands.sender(position, recipient) is None:
            return False
        return taken.get(recipient, True)

    async def _send(
        self,
        position: Position,
        recipient: int,
        encoded: Callable[[int], RingRow],
        framed: Callable[[tuple[PayloadTensor, ...]], Frame],
        taken: dict[int, bool],
    ) -> None:
        while (sender := self._summands.sender(position, recipient)) is None:
            if self._mailbox.has_passed(recipient):
                return
            await self._mailbox.change()
        try:
            masked = await run_abandonable(lambda: sender.masked(encoded(recipient)))
        except (NumberOutOfRange, InconsistentSum) as error:
            taken[recipient] = False
            self._errors.log(f"the row for {self._members.label(recipient)}", error)
            self._mailbox.wake()
            return
        row = torch.from_numpy(masked.view("<i4"))
        await self._exchanger.send(recipient, framed(RING_ROWS.encode(row)), taken)
