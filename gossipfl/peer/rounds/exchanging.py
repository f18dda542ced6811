"""One exchange of a round: the peer's rows are sent, and its neighbours' awaited, until a deadline."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import trio

from gossipfl.algorithms import Mixed
from gossipfl.errors import (
    ExchangeFailed,
    MessageRefused,
    RefusedByNeighbour,
    ReplayedMessage,
)
from gossipfl.network import Host
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.rounds.mailbox import Mailbox, Received
from gossipfl.peer.rounds.members import Members
from gossipfl.rounds.member_rows import Outgoing, mixed, mixed_sum
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.secure import RingRow
from gossipfl.wire import Frame, Progress

__all__ = ["Exchanged", "Exchanger", "answer_of"]

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Outcome of an exchange.

    Parameters
    ----------
    received : mapping of int to Received
        By number of the sender.
    missing : tuple of int
        Neighbours whose rows did not arrive.
    untaken : tuple of int
        Recipients that did not confirm keeping this peer's row.
    too_late : bool
        Whether all recipients that answered had continued without this peer.
    total : ndarray, optional
        Sum of the received rows, where these are masked.
    unsent : tuple of int
        Recipients to which nothing was sent.
    unwanted : tuple of int
        Neighbours whose rows were not asked for, because of their summaries.
    """

    received: Mapping[int, Received]
    missing: tuple[int, ...]
    untaken: tuple[int, ...]
    too_late: bool
    total: RingRow | None = None
    unsent: tuple[int, ...] = ()
    unwanted: tuple[int, ...] = ()


@dataclass(kw_only=True, eq=False)
class Exchanger:
    """Carries out exchanges.

    A peer leaves an exchange once every row it waits for has arrived and its own rows have been answered, or at
    the deadline. A member known to be in a later exchange therefore has nothing more to send, and is not waited
    for. A member that was silent for several exchanges in a row is absent: nothing is sent to it, and it is not
    waited for, until it is heard from again (`Conversation.knock` asks it every second).

    Parameters
    ----------
    deadline : float
        Seconds.
    """

    host: Host
    mailbox: Mailbox
    members: Members
    deadline: float

    def __post_init__(self) -> None:
        self._errors = FirstErrors(logger)

    async def exchange(self, frames: Mapping[int, Frame], neighbours: Collection[int]) -> Exchanged:
        """Send frames and collect rows for the mailbox's position.

        Parameters
        ----------
        frames : mapping of int to Frame
            By number of the recipient.
        neighbours : collection of int
            Numbers of the members whose rows are expected.
        """
        taken: dict[int, bool] = {}
        present = {each: frame for each, frame in frames.items() if not self.members.is_absent(each)}
        with trio.move_on_after(self.deadline):
            async with trio.open_nursery() as sends:
                for recipient, frame in present.items():
                    sends.start_soon(self.send, recipient, frame, taken)
                while present.keys() - taken.keys() or self._waits_for(neighbours):
                    await self.mailbox.change()
                sends.cancel_scope.cancel()
        received = dict(self.mailbox.rows())
        missing = tuple(each for each in sorted(neighbours) if each not in received)
        for number in {*neighbours, *present}:
            if number not in received and self.mailbox.has_passed(number):
                continue  # it is in a later exchange, not silent
            silent = number in missing or (number in present and number not in taken)
            self.members.expected(number, arrived=not silent)
        return Exchanged(
            received=received,
            missing=missing,
            untaken=tuple(each for each in sorted(frames) if not taken.get(each)),
            too_late=bool(taken) and not any(taken.values()),
            unsent=tuple(each for each in sorted(frames) if each not in present),
        )

    def _waits_for(self, neighbours: Collection[int]) -> bool:
        arrived = self.mailbox.rows()
        return any(
            each not in arrived and not self.mailbox.has_passed(each) and not self.members.is_absent(each)
            for each in neighbours
        )

    async def send(self, recipient: int, frame: Frame, taken: dict[int, bool]) -> None:
        """Send until it is answered, and record whether the row is kept."""
        pause = _FIRST_RETRY_SECONDS
        while recipient not in taken:
            try:
                taken[recipient] = await self._sent(recipient, frame)
            except RefusedByNeighbour as error:
                # The row had arrived, and only the answer was lost.
                taken[recipient] = error.code == ReplayedMessage.counter()
                if not taken[recipient]:
                    self._errors.log(self.members.label(recipient), error)
            except MessageRefused as error:
                taken[recipient] = False
                self._errors.log(self.members.label(recipient), error)
            except ExchangeFailed as error:
                logger.debug("member %d was not reached: %s", recipient, error)
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
        self.mailbox.wake()

    async def _sent(self, recipient: int, frame: Frame) -> bool:
        peer_id = self.members.peer_id(recipient)
        reply = await self.host.exchange(
            peer_id, self.members.addresses(recipient), frame, seconds=self.deadline
        )
        if not isinstance(reply, Progress):
            raise MessageRefused("the answer to a row must be a progress", got=type(reply).__name__)
        self.members.heard(recipient, reply)
        return reply.kept


def answer_of(
    plan: RoundsPlan,
    position: tuple[int, int],
    out: Outgoing,
    result: Exchanged,
    listening: bool,  # noqa: FBT001  (passed through a thread)
) -> Mixed:
    """Combine what an exchange brought into the answer to the algorithm; see `mixed` and `mixed_sum`."""
    if plan.ring is not None:
        return mixed_sum(plan, position, out, result.total, result.received, listening=listening)
    rows = {number: received.row for number, received in result.received.items()}
    return mixed(plan, position, out, rows, untaken=result.untaken, listening=listening)
