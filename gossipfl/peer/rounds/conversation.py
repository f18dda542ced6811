"""Messages between members in rounds besides their rows: answers, greetings and addresses."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import trio

from gossipfl.errors import ExchangeFailed, GossipflError, MessageRefused, RefusedByNeighbour
from gossipfl.network import Host, Scope
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.members import Members
from gossipfl.peer.rounds.summands import Summands
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.settings import ViewSettings
from gossipfl.wire import (
    AnyHeader,
    AnyMessage,
    Frame,
    Progress,
    RoundHeader,
    RoundMessage,
    SumMessage,
    View,
    encode,
)

__all__ = ["Conversation"]

logger = logging.getLogger(__name__)

_GREETING_SECONDS = 5.0
_KNOCK_SECONDS = 1.0
_ANNOUNCING_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 2.0
_FIRST_CONTACT_SECONDS = 0.25


@dataclass(kw_only=True, eq=False)
class Conversation:
    """A peer's messages about progress and addresses.

    Parameters
    ----------
    task : bytes
        Fingerprint of the task.
    view : AddressBook
        Addresses of members, passed on among them.
    summands : Summands, optional
        Answers the receivers of masked sums.
    """

    host: Host
    plan: RoundsPlan
    task: bytes
    incarnation: int
    mailbox: Mailbox
    members: Members
    view: AddressBook
    view_settings: ViewSettings
    summands: Summands | None = None

    def __post_init__(self) -> None:
        self._knocking: set[int] = set()
        self._errors = FirstErrors(logger)

    async def answer(self, peer_id: str, message: AnyMessage) -> Frame:
        """Answer a complete, valid message; the handler for `Host.serve`.

        Raises
        ------
        UnexpectedRound, ReplayedMessage, PeerBusy
            As in `Mailbox.screen`.
        """
        number = self.members.number(peer_id)
        if isinstance(message, View):
            self._learn(peer_id, message)
            return self._own_view(peer_id)
        if isinstance(message, RoundMessage):
            kept = self.mailbox.keep(number, message)
            self.members.present(number, round_number=message.header.round)
            return encode(self._progress(kept=kept))
        if isinstance(message, Progress):
            self.members.heard(number, message)
            return encode(self._progress(kept=False))
        if isinstance(message, SumMessage) and self.summands is not None:
            self.members.asked(number, (message.round, message.exchange))
            return self.summands.answer(number, message)
        raise MessageRefused("this message is not a request", got=type(message).__name__)

    def screen(self, peer_id: str, header: AnyHeader) -> None:
        """Refuse a message before its body is read, if its header is reason enough.

        Raises
        ------
        UnexpectedRound, ReplayedMessage, PeerBusy
            As in `Mailbox.screen`.
        """
        if isinstance(header, RoundHeader | Progress | SumMessage):
            self.mailbox.screen(self.members.number(peer_id), header)

    async def greet(self) -> None:
        """Ask all members for their rounds, until each has answered once."""
        async with trio.open_nursery() as nursery:
            for number in self.members.others:
                nursery.start_soon(self._greet, number)

    async def announce(self) -> None:
        """Tell all members this peer's round, as far as they answer soon."""
        with trio.move_on_after(_ANNOUNCING_SECONDS):
            async with trio.open_nursery() as nursery:
                for number in self.members.others:
                    nursery.start_soon(self._knock, number)

    async def knock(self) -> None:
        """Ask absent members for their rounds every second, so that both sides notice returns; until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(_KNOCK_SECONDS)
                for number in self.members.absent():
                    if number not in self._knocking:
                        self._knocking.add(number)
                        nursery.start_soon(self._knock, number)

    async def _knock(self, number: int) -> None:
        try:
            await self._ask(number)
        except GossipflError as error:
            logger.debug("absent member %d was not reached: %s", number, error)
        finally:
            self._knocking.discard(number)

    async def exchange_views(self) -> None:
        """Exchange members' addresses until cancelled, more often until the first answer."""
        answered = False
        while True:
            await trio.sleep(self.view_settings.period if answered else _FIRST_CONTACT_SECONDS)
            self.view.grow_older()
            neighbour = self.view.choose(now=trio.current_time())
            if neighbour is None:
                continue
            frame = self._own_view(neighbour.peer_id)
            try:
                reply = await self.host.exchange(
                    neighbour.peer_id, neighbour.addresses, frame, seconds=_GREETING_SECONDS
                )
            except (ExchangeFailed, MessageRefused) as error:
                self._note(neighbour.peer_id, error)
                self.view.failed(neighbour.peer_id, now=trio.current_time())
                continue
            self.view.succeeded(neighbour.peer_id)
            if isinstance(reply, View):
                self._learn(neighbour.peer_id, reply)
                answered = True

    async def _greet(self, number: int) -> None:
        pause = _FIRST_RETRY_SECONDS
        while number not in self.mailbox.claims:
            try:
                await self._ask(number)
            except (ExchangeFailed, MessageRefused) as error:
                self._note(self.members.peer_id(number), error)
            await trio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    def _note(self, peer_id: str, error: GossipflError) -> None:
        """Log why an exchange failed: refusals of each kind once, and who was not reached only for debugging."""
        # `view.bootstrap` may name others than members.
        is_member = peer_id in self.plan.roster
        label = self.members.label(self.members.number(peer_id)) if is_member else peer_id
        if isinstance(error, RefusedByNeighbour | MessageRefused):
            self._errors.log(label, error)
        else:
            logger.debug("%s was not reached: %s", label, error)

    async def _ask(self, number: int) -> None:
        """Exchange progress with a member."""
        reply = await self.host.exchange(
            self.members.peer_id(number),
            self.members.addresses(number),
            encode(self._progress(kept=False)),
            seconds=_GREETING_SECONDS,
        )
        if not isinstance(reply, Progress):
            raise MessageRefused("the answer to a progress must be one", got=type(reply).__name__)
        self.mailbox.screen(number, reply)
        self.members.heard(number, reply)

    def _progress(self, *, kept: bool) -> Progress:
        position = self.mailbox.position
        return Progress(
            task=self.task,
            agreement=self.plan.agreement,
            incarnation=self.incarnation,
            round=position[0],
            exchange=position[1] + self.mailbox.silent,
            kept=kept,
        )

    def _own_view(self, receiver: str) -> Frame:
        observed = self.host.remote_address(receiver)
        return encode(View(task=self.task, peers=self.view.tell(), observed=observed))

    def _learn(self, teller: str, message: View) -> None:
        self.host.observed(message.observed, observer=teller)
        members = [each for each in message.peers if each.peer_id in self.plan.roster]
        scope = Scope.LOOPBACK if self.view_settings.narrower else self.host.scope_of(teller)
        self.view.learn(members[: self.view_settings.exchanged], teller=teller, scope=scope)
