"""Exchanges of models with neighbours that this peer starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import trio

from gossipfl.codecs import Compressor
from gossipfl.errors import (
    ExchangeFailed,
    MessageRefused,
    NonFiniteUpdate,
    PeerBusy,
    PeerUnreachable,
    RefusedByNeighbour,
    ReplayedMessage,
)
from gossipfl.network import Host, Renew, Reservation, RowMemory
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.gossip.accounts import TokenAccounts
from gossipfl.peer.gossip.deferrals import Deferrals
from gossipfl.peer.gossip.events import Merged, State
from gossipfl.peer.gossip.known_peer import KnownPeer
from gossipfl.peer.gossip.later_starts import LaterStarts
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.outgoing import OutgoingModels
from gossipfl.peer.gossip.part_choice import PartChoice
from gossipfl.peer.gossip.promptness import Promptness
from gossipfl.peer.gossip.received import ReceivedModels, incoming, require_plausible
from gossipfl.peer.gossip.slots import Directions, Slots
from gossipfl.peer.gossip.view import SampledView
from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.settings import ExchangeSettings
from gossipfl.wire import Acknowledgement, Frame, ModelMessage
from gossipfl.wire.refusals import CODES

__all__ = ["Gossip"]

logger = logging.getLogger(__name__)

_MOST_OFFERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What is sent to a neighbour: a model, or a request for one.

    Parameters
    ----------
    codec : Compressor, optional
        Of the model.
    begun : State, optional
        The version with which the answer is needed.
    renew : callable, optional
        Returns a newer model that is worth more than what remains of this one.
    """

    frame: Frame
    wants_answer: bool
    codec: Compressor | None = None
    begun: State | None = None
    renew: Renew | None = None


@dataclass(kw_only=True, eq=False)
class Gossip:
    """The exchanges of models that one peer starts.

    Parameters
    ----------
    learner : Learner
        Provides the model to send.
    accounts : TokenAccounts
        Decide when to send.
    parts : PartChoice
        Decides what.
    errors : FirstErrors
        Logs what neighbours did wrong.
    later_starts : LaterStarts
        Notified of the starts that neighbours know of.
    memory : RowMemory
        For received models, of ``row_bytes`` each.
    exchange_settings : ExchangeSettings
        Mode, period and limits.
    generator : numpy.random.Generator
        For jitter.
    record : callable
        Called with one record for each exchange of models that this peer starts.
    """

    host: Host
    learner: Learner
    received: ReceivedModels
    accounts: TokenAccounts
    parts: PartChoice
    view: SampledView
    errors: FirstErrors
    outgoing: OutgoingModels
    later_starts: LaterStarts
    memory: RowMemory
    row_bytes: int
    exchange_settings: ExchangeSettings
    generator: np.random.Generator
    record: Callable[[Mapping[str, Any]], None]

    def __post_init__(self) -> None:
        self._slots = Slots()
        self._promptness = Promptness(least=self.exchange_settings.period)
        self._deferrals = Deferrals()
        self.memory.kept = lambda: self.received.kept_bytes

    async def exchange_models(self) -> None:
        """Start an exchange with a random neighbour each period, until cancelled.

        An exchange that hangs occupies one of a few slots until its deadline, and its neighbour is not chosen
        again until then; the next period starts an exchange with another neighbour. Neighbours that are much
        slower than others share half of the slots, and are asked beside the others and not in their place. While
        rows that are under way take up one direction of this peer's own link, it exchanges models in the other
        one only; if they take up both, none. With a token account some periods pass without an exchange, and
        models that arrive are answered by further ones.
        """
        settings = self.exchange_settings
        next_at = trio.current_time()
        async with trio.open_nursery() as nursery:

            def react(merged: Sequence[Merged]) -> None:
                for model in merged:
                    account = self.parts.sharing.account(model.part)
                    for _ in range(self.accounts.receive(model.event, account, is_useful=model.is_useful)):
                        self._start(nursery.start_soon, self.parts.in_answer(model.part))

            self.learner.on_merged = react
            try:
                while True:
                    swing = settings.jitter * (2 * self.generator.random() - 1)
                    next_at = max(next_at + settings.period * (1 + swing), trio.current_time())
                    await trio.sleep_until(next_at)
                    part = self.parts.next
                    if not self.learner.mailbox_is_full and self.accounts.ring(
                        self.parts.sharing.account(part)
                    ):
                        self._start(nursery.start_soon, part)
            finally:  # the learner may merge once more after the nursery has closed
                self.learner.on_merged = lambda _: None

    def _start(self, start_soon: Callable[..., None], part: int) -> None:
        """Start an exchange or, on a slow link, one in each direction that has room."""
        begun = [rows for rows in self._rows_now() if self._start_with(start_soon, part, rows)]
        if begun:
            self.parts.begin()

    def _start_with(self, start_soon: Callable[..., None], part: int, rows: Directions) -> bool:
        """Start an exchange of these rows, if there are a slot, a neighbour and room in memory."""
        answer_bytes = rows.asks * self.row_bytes
        has_begun = False
        for neighbour in self._chosen(rows):
            if not self.memory.has_room(answer_bytes):
                break
            self._slots.begin(neighbour.peer_id, rows)
            room = self.memory.reserve(answer_bytes)
            start_soon(self._exchange_model, neighbour, room, part, rows)
            has_begun = True
            if self.accounts.are_used:
                break
        return has_begun

    def _rows_now(self) -> list[Directions]:
        """Return the rows of each exchange that is started now; none if the link has no room for any."""
        mode, size = self.exchange_settings.mode, self.outgoing.latest_bytes
        usual = Directions(sends=mode != "pull", asks=mode != "push")
        are_needed = self.learner.trains_on_answers or self.accounts.are_used
        sizes = usual.sends * size, usual.asks * size
        sends, asks = self.host.link.free_directions(*sizes, needs_both=are_needed)
        rows = Directions(sends=usual.sends and sends, asks=usual.asks and asks)
        if are_needed:
            return [rows] if rows == usual else []
        if rows.sends and rows.asks and not self.host.link.go_together(*sizes):
            return [Directions(sends=True, asks=False), Directions(sends=False, asks=True)]
        return [rows] if rows.sends or rows.asks else []

    def _excluded(self, rows: Directions) -> set[str]:
        """Return the neighbours with which no exchange of these rows is to be started now."""
        distrusted = {peer.peer_id for peer in self.view.known if self.learner.distrusts(peer.peer_id)}
        deferred = self._deferrals.current(trio.current_time())
        return self._slots.taken(rows) | distrusted | deferred | self.received.heard_while_joining

    def _chosen(self, rows: Directions) -> Iterator[KnownPeer]:
        """Yield a random neighbour and, if that is slow, a prompt one beside it, as long as there are slots."""
        slow, now, most = self._promptness.slow(), trio.current_time(), self.exchange_settings.concurrent
        taken, exclude = self._slots.taken(rows), self._excluded(rows)
        if len(taken) >= most:
            return
        are_allowed = len(slow & taken) < max(1, most // 2)
        neighbour = self.view.choose(now=now, exclude=exclude if are_allowed else exclude | slow)
        if neighbour is None:
            return
        yield neighbour
        if neighbour.peer_id in slow and len(self._slots.taken(rows)) < most:
            prompt = self.view.choose(now=now, exclude=exclude | slow)
            if prompt is not None:
                yield prompt

    async def _exchange_model(
        self, neighbour: KnownPeer, room: Reservation, part: int, rows: Directions
    ) -> None:
        """Exchange with a neighbour or, if that is gone or has no room on its link, with another in its place."""
        chosen: KnownPeer | None = neighbour
        offer: _Offer | None = None
        try:
            newest: State | None = await self.learner.acted_on_clock()
            for _ in range(_MOST_OFFERS):
                if chosen is None:
                    return
                codec = self.outgoing.codecs.choose(chosen.peer_id) if rows.sends else None
                if offer is None or offer.codec is not codec:
                    if offer is not None:
                        offer.frame.release()
                    version = newest or self.learner.state
                    offer = await self._offer_of(
                        version, codec, part, recipient=chosen.peer_id, wants_answer=rows.asks
                    )
                    del version  # which holds memory
                    newest = None
                if not await self._exchange(chosen, offer, room, rows):
                    return
                chosen = self.view.choose(now=trio.current_time(), exclude=self._excluded(rows))
                if chosen is not None:
                    self._slots.begin(chosen.peer_id, rows)
        except (NonFiniteUpdate, PeerBusy, BudgetSpent) as error:  # before anything was sent
            if isinstance(error, NonFiniteUpdate):
                self.errors.log(f"neighbour {neighbour.peer_id[:16]}…", error)
            self._record_exchange(neighbour.peer_id, error.counter(), 0.0)
        finally:
            if chosen is not None:
                self._slots.end(chosen.peer_id, rows)
            room.release()
            if offer is not None:
                offer.frame.release()

    async def _exchange(
        self, neighbour: KnownPeer, offer: _Offer, room: Reservation, rows: Directions
    ) -> bool:
        """Exchange a model with a neighbour; return whether another may take its place: nothing was sent."""
        peer_id = neighbour.peer_id
        started = trio.current_time()
        outcome, received, is_unsent = "ok", None, False
        try:
            reply = await self.host.exchange(
                peer_id,
                neighbour.addresses,
                offer.frame,
                seconds=self.exchange_settings.deadline,
                answer_bytes=offer.wants_answer * self.outgoing.latest_bytes,
                renew=offer.renew,
            )
            self.view.succeeded(peer_id)
            heard = reply.incarnation if isinstance(reply, Acknowledgement) else None
            if self.later_starts.is_later(peer_id, heard):
                outcome = ReplayedMessage.counter()
            if isinstance(reply, ModelMessage):
                header = reply.header
                require_plausible(header)
                is_new = self.received.answers.admit(
                    peer_id, incarnation=header.incarnation, sequence=header.sequence
                )
                received = header.event
                room.release()
                model = replace(incoming(peer_id, reply), begun=offer.begun, is_answer=True)
                if is_new and not self.received.take(model):
                    outcome = "mailbox_full"
        except PeerBusy as error:
            outcome = error.counter()
            if error.retry_after is not None:
                is_unsent = True
                self._deferrals.note(peer_id, error.retry_after, now=trio.current_time())
        except (ExchangeFailed, MessageRefused) as error:
            outcome, is_unsent = error.counter(), isinstance(error, PeerUnreachable)
            if isinstance(error, RefusedByNeighbour) and error.code in CODES:
                outcome = error.code
            if outcome != ReplayedMessage.counter():  # which is not the neighbour's fault
                self.view.failed(peer_id, now=trio.current_time())
            if isinstance(error, MessageRefused | RefusedByNeighbour):
                self.errors.log(f"neighbour {peer_id[:16]}…", error)
            else:
                logger.debug("exchange with %s failed: %s", peer_id, error)
        finally:
            self._slots.end(peer_id, rows)
        seconds = trio.current_time() - started
        self._promptness.note(peer_id, seconds)
        self._record_exchange(peer_id, outcome, seconds, received=received, codec=offer.codec)
        return is_unsent

    def _record_exchange(
        self,
        peer_id: str,
        outcome: str,
        seconds: float,
        *,
        received: int | None = None,
        codec: Compressor | None = None,
    ) -> None:
        self.record(
            {
                "kind": "exchange",
                "neighbour": peer_id,
                "outcome": outcome,
                "seconds": round(seconds, 6),
                "answer_event": received,
                "codec": None if codec is None else codec.name,
            }
        )

    async def _offer_of(
        self, newest: State, codec: Compressor | None, part: int, *, recipient: str, wants_answer: bool
    ) -> _Offer:
        """Return what is sent to a neighbour: a model, or without a codec a request for one.

        Raises
        ------
        NonFiniteUpdate
            Training has diverged.
        PeerBusy
            An older version is still being sent.
        """
        keeps = self.learner.trains_on_answers
        if codec is None:
            begun = newest if keeps else None
            return _Offer(frame=self.outgoing.pull(part), wants_answer=wants_answer, begun=begun)
        version = self.outgoing.versions.choose(newest, recipient)
        if version is None:
            raise PeerBusy("an older version of the model is still being sent")
        frame = await self.outgoing.frame(
            version, recipient=recipient, codec=codec, part=part, wants_answer=wants_answer
        )
        if keeps:
            return _Offer(frame=frame, wants_answer=wants_answer, codec=codec, begun=version)
        renew = partial(
            self.outgoing.newer_frame,
            frame,
            newest=lambda: self.learner.state,
            age=version.age,
            recipient=recipient,
            codec=codec,
            part=part,
            wants_answer=wants_answer,
        )
        return _Offer(frame=frame, wants_answer=wants_answer, codec=codec, renew=renew)
