"""The receiver's conversation for one masked sum: keys, shares, survivors, and the sum, each until a deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import trio

from gossipfl.errors import (
    ExchangeFailed,
    GossipflError,
    KeyUnknown,
    MessageRefused,
    RefusedByNeighbour,
    UnexpectedRound,
    WrongShare,
)
from gossipfl.peer.rounds.summing_neighbours import Neighbourhood
from gossipfl.peer.threads import run_abandonable
from gossipfl.rounds.plan import Position
from gossipfl.secure import (
    Receiver,
    RevealedShares,
    RingRow,
    SealedShares,
    Unopened,
)
from gossipfl.wire import SumStep

__all__ = ["OwnSum"]

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.05
_TRIES_BEFORE_LEAVING_OUT = 3
_INVITATIONS = 3
_USUAL = frozenset({KeyUnknown.counter(), UnexpectedRound.counter()})
_SETUP_SHARE = 0.3
_ROWS_SHARE = 0.75


class OwnSum:
    """The masked sum of an exchange at this peer.

    Its parts of the deadline are for the shares, the masked rows, and the unmasking. Each step goes on without
    those that could not be reached, once enough have answered.

    Parameters
    ----------
    around : Neighbourhood
    position : tuple of two int
    deadline : float
        Seconds.

    Raises
    ------
    SummandsExposed
        The peer has fewer than 3 neighbours in this round.
    """

    def __init__(self, around: Neighbourhood, position: Position, *, deadline: float) -> None:
        self._around = around
        self.position = position
        self._deadline = deadline
        self.receiver = Receiver(around.plan.session(position, around.plan.number), keys=around.keys)
        self._began = trio.current_time()
        self._prepared = trio.Event()
        self.error: GossipflError | None = None
        self.silent: set[int] = set()
        """Neighbours that could not be reached, or promised a row and did not send it."""

    async def prepare(self) -> None:
        """Exchange keys and shares among the neighbours; an error is kept."""
        try:
            await self._prepare()
        except GossipflError as error:
            self.error = error
        finally:
            self._prepared.set()
            self._around.mailbox.wake()

    async def total(self, *, began: float) -> RingRow:
        """Wait for the masked rows, and unmask their sum.

        Parameters
        ----------
        began : float
            When the exchange began.

        Raises
        ------
        TooFewSummands, WrongShare
            Neighbours that are known to lie are left out of later sums.
        """
        end = began + self._deadline
        with trio.move_on_at(began + _SETUP_SHARE * self._deadline):
            await self._prepared.wait()
        if self.error is not None:
            raise self.error
        mailbox, receiver = self._around.mailbox, self.receiver
        with trio.move_on_at(began + _ROWS_SHARE * self._deadline):
            while any(self._waits_for(each) for each in receiver.listed):
                await mailbox.change()
        rows = mailbox.rows()
        for number in receiver.listed:
            if number in rows:
                receiver.row(number, rows[number].row.numpy().view(np.dtype("<u4")))
            elif not mailbox.has_passed(number):
                self.silent.add(number)
        survivors = receiver.survivors().to_bytes()
        await self._ask_all(
            receiver.summands, SumStep.SURVIVORS, lambda _: survivors, receiver.confirmed, until=end
        )
        signatures = receiver.signatures().to_bytes()
        await self._ask_all(
            receiver.summands,
            SumStep.SIGNATURES,
            lambda _: signatures,
            lambda number, content: receiver.revealed(number, RevealedShares.from_bytes(content)),
            until=end,
        )
        try:
            return await run_abandonable(receiver.total)
        except WrongShare as error:
            self._around.exclude(error.members, because="its shares do not lead to its secrets")
            raise
        finally:
            self._around.exclude(receiver.liars, because="it revealed other shares than it was given")

    async def _prepare(self) -> None:
        end = self._began + self._deadline
        soon = self._began + _SETUP_SHARE * self._deadline
        while True:
            await self._invite(until=soon)
            await self._ask_all(
                self.receiver.fix_participants(),
                SumStep.PARTICIPANTS,
                lambda number: self.receiver.participants(number).to_bytes(),
                self._note_unopened,
                until=end,
            )
            if not (forgers := self.receiver.forgers):
                return
            self._around.exclude(forgers, because="others cannot open the shares that it sealed for them")

    async def _invite(self, *, until: float) -> None:
        """Let those present share their secrets."""
        session, around = self.receiver.session, self._around
        present = [
            each
            for each in session.neighbours
            if not around.members.is_absent(each) and not around.excludes(each)
        ]
        for _ in range(_INVITATIONS):
            await self._introduce(present, until=until)
            invitation = self.receiver.invitation(present).to_bytes()
            await self._ask_all(
                self.receiver.invited,
                SumStep.INVITATION,
                lambda _: invitation,  # noqa: B023  (used before the next)
                lambda number, content: self.receiver.shared(number, SealedShares.from_bytes(content)),
                until=until,
            )
            if not any(around.untold(each, session.neighbours) for each in self.receiver.invited):
                break

    def _note_unopened(self, number: int, content: bytes) -> None:
        neighbours = self.receiver.session.neighbours
        places = Unopened.from_bytes(content).places
        self.receiver.accused(number, (neighbours[each] for each in places if each < len(neighbours)))

    async def _introduce(self, present: Collection[int], *, until: float) -> None:
        """Learn all keys, then pass on those that some have not been told."""
        around, neighbours = self._around, self.receiver.session.neighbours
        for _ in range(2):
            lacking = [each for each in present if each not in around.keys or around.untold(each, neighbours)]
            if lacking:
                await self._each(
                    lacking,
                    lambda number: around.introduce(number, self.position, neighbours, until=until),
                    until=until,
                )

    def _waits_for(self, number: int) -> bool:
        mailbox, members = self._around.mailbox, self._around.members
        return not (number in mailbox.rows() or mailbox.has_passed(number) or members.is_absent(number))

    async def _ask_all(
        self,
        numbers: Collection[int],
        step: SumStep,
        content: Callable[[int], bytes],
        take: Callable[[int, bytes], object],
        *,
        until: float,
    ) -> None:
        async def asked(number: int) -> None:
            try:
                answer = await self._around.ask(number, self.position, step, content(number), until=until)
            except RefusedByNeighbour as error:
                if error.code == KeyUnknown.counter():  # somebody has started again
                    self._around.forgets(number)
                raise
            take(number, answer)

        await self._each(numbers, asked, until=until)

    async def _each(self, numbers: Collection[int], work: Callable[[int], Any], *, until: float) -> None:
        """Do something with each neighbour at once; go on when all are done, or have failed while enough are."""
        done: set[int] = set()
        tries: dict[int, int] = dict.fromkeys(numbers, 0)
        changed = trio.Event()

        async def repeatedly(number: int) -> None:
            nonlocal changed
            while number not in done:
                try:
                    await work(number)
                    done.add(number)
                except (RefusedByNeighbour, MessageRefused) as error:
                    if not isinstance(error, RefusedByNeighbour) or error.code not in _USUAL:
                        self._around.errors.log(self._around.members.label(number), error)
                    tries[number] = _TRIES_BEFORE_LEAVING_OUT
                except ExchangeFailed as error:
                    logger.debug("member %d was not reached for a sum: %s", number, error)
                    tries[number] += 1
                    if tries[number] >= _TRIES_BEFORE_LEAVING_OUT:
                        self.silent.add(number)
                changed.set()
                changed = trio.Event()
                if tries[number] >= _TRIES_BEFORE_LEAVING_OUT and number not in done:
                    return
                if number not in done:
                    await trio.sleep(_RETRY_SECONDS * 2 ** tries[number])

        def is_settled() -> bool:
            return all(each in done or tries[each] >= _TRIES_BEFORE_LEAVING_OUT for each in numbers)

        with trio.move_on_at(until):
            async with trio.open_nursery() as nursery:
                for number in numbers:
                    nursery.start_soon(repeatedly, number)
                while not is_settled():
                    await changed.wait()
                nursery.cancel_scope.cancel()
