"""Exchanges of models with neighbours, both those that this peer starts and those that it answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import InitVar, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import trio

from gossipfl.algorithms import Message
from gossipfl.errors import (
    ExchangeFailed,
    ImplausibleAge,
    MessageRefused,
    NonFiniteUpdate,
    PeerBusy,
    RefusedByNeighbour,
    ReplayedMessage,
)
from gossipfl.network import Host, Renew, Reservation, RowMemory, SenderRates
from gossipfl.peer.gossip.deferrals import Deferrals
from gossipfl.peer.gossip.events import Incoming, State
from gossipfl.peer.gossip.joining import Joining
from gossipfl.peer.gossip.known_peer import KnownPeer
from gossipfl.peer.gossip.later_starts import LaterStarts
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.meetings import Meetings
from gossipfl.peer.gossip.outgoing import LARGEST_AGE, OutgoingModels
from gossipfl.peer.gossip.promptness import Promptness
from gossipfl.peer.gossip.view import SampledView
from gossipfl.recent import RecentMap
from gossipfl.settings import ExchangeSettings, ViewSettings
from gossipfl.wire import (
    Acknowledgement,
    AnyHeader,
    AnyMessage,
    Frame,
    ModelHeader,
    ModelMessage,
    ReplayGuard,
    View,
    encode,
)

__all__ = ["Gossip"]

logger = logging.getLogger(__name__)

_HASTE = 4.0
_MOST_AGES = 1024
_MOST_OFFERS = 3
#: A peer that accepts no pushes tells whoever offers one to come again after this.
_NO_PUSHES_SECONDS = 600.0


@dataclass(kw_only=True, eq=False)
class Gossip:
    """One peer's exchanges of models with others.

    Parameters
    ----------
    learner : Learner
        Provides the model to send, and accepts received ones.
    meetings : Meetings
        Answers exchanges of views.
    later_starts : LaterStarts
        Notified of the starts that neighbours know of.
    joining : Joining, optional
        Holds models back for a newcomer to choose from.
    memory : RowMemory
        For received models, of ``row_bytes`` each.
    exchange_settings, view_settings
        Periods and limits.
    generator : numpy.random.Generator
        For jitter.
    record : callable
        Called with one record for each exchange of models that this peer starts.
    """

    host: Host
    learner: Learner
    view: SampledView
    meetings: Meetings
    outgoing: OutgoingModels
    later_starts: LaterStarts
    joining: Joining | None = None
    memory: RowMemory
    row_bytes: int
    exchange_settings: ExchangeSettings
    view_settings: InitVar[ViewSettings]
    generator: np.random.Generator
    record: Callable[[Mapping[str, Any]], None]

    def __post_init__(self, view_settings: ViewSettings) -> None:
        self._under_way: set[str] = set()
        self._errors = self.meetings.errors
        self._promptness = Promptness(least=self.exchange_settings.period)
        self._deferrals = Deferrals()
        # A push and an answer by the same sender may overtake each other, so each kind has its own order.
        self.model_ages: RecentMap[str, int] = RecentMap(_MOST_AGES)
        self._pushes = ReplayGuard()
        self._answers = ReplayGuard()
        # Several times the rate at which a peer like this one would send to a single neighbour.
        self._models = SenderRates(_HASTE / self.exchange_settings.period, what="models")
        self._views = SenderRates(_HASTE / view_settings.period, what="views")
        self.memory.kept = self._kept_bytes

    async def exchange_models(self) -> None:
        """Start an exchange with a random neighbour each period, until cancelled.

        An exchange that hangs occupies one of a few slots until its deadline, and its neighbour is not chosen
        again until then; the next period starts an exchange with another neighbour. Neighbours that are much
        slower than others share half of the slots, and are asked beside the others and not in their place. None
        is started while rows that are under way take up this peer's own link.
        """
        settings = self.exchange_settings
        next_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            while True:
                swing = settings.jitter * (2 * self.generator.random() - 1)
                next_at = max(next_at + settings.period * (1 + swing), trio.current_time())
                await trio.sleep_until(next_at)
                if self.learner.mailbox_is_full or len(self._under_way) >= settings.concurrent:
                    continue
                if not self.host.link_is_free(self.outgoing.latest_bytes, self._answer_frame_bytes):
                    continue
                for neighbour in self._chosen(self._excluded()):
                    if not self.memory.has_room(self._answer_bytes):
                        break
                    self._under_way.add(neighbour.peer_id)
                    room = self.memory.reserve(self._answer_bytes)
                    nursery.start_soon(self._exchange_model, neighbour, room)

    @property
    def _answer_frame_bytes(self) -> int:
        return self.outgoing.latest_bytes if self.exchange_settings.mode == "push-pull" else 0

    def _excluded(self) -> set[str]:
        """Return the neighbours with which no exchange is to be started now."""
        distrusted = {peer.peer_id for peer in self.view.known if self.learner.distrusts(peer.peer_id)}
        deferred = self._deferrals.current(trio.current_time())
        return self._under_way | distrusted | deferred | self._heard_while_joining()

    def _chosen(self, exclude: set[str]) -> Iterator[KnownPeer]:
        """Yield a random neighbour and, if that is a slow one, a prompt one beside it."""
        slow, now = self._promptness.slow(), trio.current_time()
        are_allowed = len(slow & self._under_way) < max(1, self.exchange_settings.concurrent // 2)
        neighbour = self.view.choose(now=now, exclude=exclude if are_allowed else exclude | slow)
        if neighbour is None:
            return
        yield neighbour
        if neighbour.peer_id in slow and len(self._under_way) < self.exchange_settings.concurrent:
            prompt = self.view.choose(now=now, exclude=exclude | slow)
            if prompt is not None:
                yield prompt

    @property
    def _answer_bytes(self) -> int:
        return self.row_bytes if self.exchange_settings.mode == "push-pull" else 0

    def _kept_bytes(self) -> int:
        held = 0 if self.joining is None else self.joining.held_bytes
        return self.learner.kept_bytes + held

    async def join(self) -> None:
        """Choose the initial model, if this peer is a newcomer."""
        if self.joining is not None:
            await self.joining.choose(lambda: {peer.peer_id for peer in self.view.known})

    @property
    def _is_joining(self) -> bool:
        return self.joining is not None and not self.joining.is_over

    def _heard_while_joining(self) -> set[str]:
        return self.joining.heard if self.joining is not None and self._is_joining else set()

    def _take(self, incoming: Incoming) -> bool:
        """Hold a model back, or put it into the mailbox; return False if that is full."""
        self.model_ages[incoming.sender] = int(incoming.message.ages.max())
        return (self.joining is not None and self.joining.hold(incoming)) or self.learner.offer(incoming)

    async def answer(self, peer_id: str, message: AnyMessage) -> Frame:
        """Answer a complete, valid message; the handler for `Host.serve`.

        A model from an earlier start of its sender than the latest one known is not used. The answer names the
        later start, and a sender that does not know it restarts with a higher number.

        Raises
        ------
        PeerBusy
            The mailbox is full.
        ReplayedMessage
            A later message was received before. The latest may be repeated, and is answered again.
        """
        if isinstance(message, View):
            return self.meetings.answer(peer_id, message)
        if not isinstance(message, ModelMessage):
            raise MessageRefused("this message is not a request", got=type(message).__name__)
        header = message.header
        later = self._later_start(peer_id, header)
        if later is not None:
            self._errors.log(f"neighbour {peer_id[:16]}…", _of_an_earlier_start(header, later))
            return encode(Acknowledgement(incarnation=later[0], sequence=later[1]))
        said = {"incarnation": header.incarnation, "sequence": header.sequence}
        if self._pushes.check(peer_id, **said):
            if not self._take(_incoming(peer_id, message)):
                raise PeerBusy("the mailbox is full")
            self._pushes.admit(peer_id, **said)
        version = self.outgoing.versions.choose(self.learner.state) if header.wants_answer else None
        if version is not None:
            del message
            with suppress(NonFiniteUpdate):  # this peer's own training has diverged
                return await self.outgoing.frame(version, wants_answer=False)
        return encode(Acknowledgement(incarnation=header.incarnation, sequence=header.sequence))

    def screen(self, peer_id: str, header: AnyHeader) -> None:
        """Refuse a message before its body is read, if its header is reason enough.

        Raises
        ------
        PeerBusy, ReplayedMessage, ImplausibleAge, RateLimited
        """
        if isinstance(header, View):
            self._views.charge(peer_id, now=trio.current_time())
        if isinstance(header, ModelHeader):
            if not self.exchange_settings.accept_pushes:
                raise PeerBusy("this peer accepts no pushes", retry_after=_NO_PUSHES_SECONDS)
            _require_plausible(header)
            is_new = self._later_start(peer_id, header) is None and self._pushes.check(
                peer_id, incarnation=header.incarnation, sequence=header.sequence
            )
            self._models.charge(peer_id, now=trio.current_time())
            # A sender is not told that it is distrusted.
            if is_new and (self.learner.would_refuse(peer_id) or self.learner.distrusts(peer_id)):
                raise PeerBusy("the mailbox is full")

    async def _exchange_model(self, neighbour: KnownPeer, room: Reservation) -> None:
        """Exchange with a neighbour or, if that has no room on its link now, with another one in its place."""
        chosen: KnownPeer | None = neighbour
        frame: Frame | None = None
        try:
            push_pull = self.exchange_settings.mode == "push-pull"
            version, frame = await self._next_frame(wants_answer=push_pull)
            renew = partial(
                self.outgoing.newer_frame,
                frame,
                newest=lambda: self.learner.state,
                age=version.age,
                wants_answer=push_pull,
            )
            begun = version if self.learner.trains_on_answers else None
            del version  # which holds memory
            for _ in range(_MOST_OFFERS):
                if chosen is None or not await self._offer(chosen, begun, frame, room, renew):
                    return
                chosen = self.view.choose(now=trio.current_time(), exclude=self._excluded())
                if chosen is not None:
                    self._under_way.add(chosen.peer_id)
        except (NonFiniteUpdate, PeerBusy) as error:  # before anything was sent
            if isinstance(error, NonFiniteUpdate):
                self._errors.log(f"neighbour {neighbour.peer_id[:16]}…", error)
            self._record_exchange(neighbour.peer_id, error.counter(), 0.0)
        finally:
            if chosen is not None:
                self._under_way.discard(chosen.peer_id)
            room.release()
            if frame is not None:
                frame.release()

    async def _offer(
        self,
        neighbour: KnownPeer,
        begun: State | None,
        frame: Frame,
        room: Reservation,
        renew: Renew,
    ) -> bool:
        """Exchange a model with a neighbour; return whether it asked to come again later."""
        peer_id = neighbour.peer_id
        started = trio.current_time()
        outcome, received, is_deferred = "ok", None, False
        try:
            reply = await self.host.exchange(
                peer_id,
                neighbour.addresses,
                frame,
                seconds=self.exchange_settings.deadline,
                answer_bytes=self._answer_frame_bytes,
                renew=None if begun else renew,
            )
            self.view.succeeded(peer_id)
            heard = reply.incarnation if isinstance(reply, Acknowledgement) else None
            if self.later_starts.is_later(peer_id, heard):
                outcome = ReplayedMessage.counter()
            if isinstance(reply, ModelMessage):
                header = reply.header
                _require_plausible(header)
                is_new = self._answers.admit(
                    peer_id, incarnation=header.incarnation, sequence=header.sequence
                )
                received = header.event
                room.release()
                if is_new and not self._take(replace(_incoming(peer_id, reply), begun=begun, is_answer=True)):
                    outcome = "mailbox_full"
        except PeerBusy as error:
            outcome = error.counter()
            if error.retry_after is not None:
                is_deferred = True
                self._deferrals.note(peer_id, error.retry_after, now=trio.current_time())
        except (ExchangeFailed, MessageRefused) as error:
            outcome = error.code if isinstance(error, RefusedByNeighbour) else error.counter()
            if outcome != ReplayedMessage.counter():  # which is not the neighbour's fault
                self.view.failed(peer_id, now=trio.current_time())
            if isinstance(error, MessageRefused | RefusedByNeighbour):
                self._errors.log(f"neighbour {peer_id[:16]}…", error)
            else:
                logger.debug("exchange with %s failed: %s", peer_id, error)
        finally:
            self._under_way.discard(peer_id)
        seconds = trio.current_time() - started
        self._promptness.note(peer_id, seconds)
        self._record_exchange(peer_id, outcome, seconds, received)
        return is_deferred

    def _record_exchange(
        self, peer_id: str, outcome: str, seconds: float, received: int | None = None
    ) -> None:
        self.record(
            {
                "kind": "exchange",
                "neighbour": peer_id,
                "outcome": outcome,
                "seconds": round(seconds, 6),
                "answer_event": received,
            }
        )

    async def _next_frame(self, *, wants_answer: bool) -> tuple[State, Frame]:
        """Return the version to send, and its frame.

        Raises
        ------
        PeerBusy
            An older version is still being sent.
        """
        version = self.outgoing.versions.choose(await self.learner.acted_on_clock())
        if version is None:
            raise PeerBusy("an older version of the model is still being sent")
        frame = await self.outgoing.frame(version, wants_answer=wants_answer)
        return version, frame

    def _later_start(self, peer_id: str, header: ModelHeader) -> tuple[int, int] | None:
        """Return incarnation and sequence of the newest message of a later start of the sender, if any."""
        known = [each for each in (self._pushes.newest(peer_id), self._answers.newest(peer_id)) if each]
        newest = max(known, default=(0, 0))
        return newest if newest[0] > header.incarnation else None


def _require_plausible(header: ModelHeader) -> None:
    if header.age > LARGEST_AGE:
        raise ImplausibleAge(
            "the age of the row is implausible", expected=f"at most {LARGEST_AGE}", got=header.age
        )


def _of_an_earlier_start(header: ModelHeader, later: tuple[int, int]) -> ReplayedMessage:
    return ReplayedMessage(
        "it sends models from an earlier start than the latest one known",
        expected=f"incarnation {later[0]}",
        got=header.incarnation,
        remedy="It was restored from a copy, or two copies of it are running; it has been notified.",
    )


def _incoming(peer_id: str, message: ModelMessage) -> Incoming:
    header = message.header
    return Incoming(
        message=Message(
            shared=message.row[None],
            ages=torch.tensor([header.age]),
            carried={name: row[None] for name, row in message.carried.items()},
        ),
        sender=peer_id,
        incarnation=header.incarnation,
        sequence=header.sequence,
        event=header.event,
        codec=header.codec,
    )
