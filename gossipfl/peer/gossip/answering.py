"""Answers to exchanges that neighbours start: of models and of views."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import InitVar, dataclass
from typing import Final

import trio

from gossipfl.errors import MessageRefused, NonFiniteUpdate, PeerBusy, ReplayedMessage
from gossipfl.network import Host, SenderRates
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.meetings import Meetings
from gossipfl.peer.gossip.outgoing import OutgoingModels
from gossipfl.peer.gossip.received import ReceivedModels, incoming, require_plausible
from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.settings import ExchangeSettings, ViewSettings
from gossipfl.wire import (
    Acknowledgement,
    AnyHeader,
    AnyMessage,
    Frame,
    ModelHeader,
    ModelMessage,
    PartHeader,
    Pull,
    View,
    encode,
)

__all__ = ["Answering"]

logger = logging.getLogger(__name__)

_HASTE: Final = 4.0
#: A peer that accepts no pushes tells whoever offers one to come again after this.
_NO_PUSHES_SECONDS: Final = 600.0
#: A peer that may not merge now exchanges no models, and says to come again after this.
_NO_MERGES_SECONDS: Final = 30.0


@dataclass(kw_only=True, eq=False)
class Answering:
    """Answers messages of neighbours, and refuses some before their bodies are read.

    Parameters
    ----------
    learner : Learner
        Provides the model to send.
    meetings : Meetings
        Answers exchanges of views.
    host : Host
        Its link may have no room for an answer.
    exchange_settings, view_settings
        Periods and limits.
    """

    host: Host
    learner: Learner
    received: ReceivedModels
    meetings: Meetings
    outgoing: OutgoingModels
    exchange_settings: ExchangeSettings
    view_settings: InitVar[ViewSettings]

    def __post_init__(self, view_settings: ViewSettings) -> None:
        # Several times the rate at which a peer like this one would send to a single neighbour.
        self._models = SenderRates(_HASTE / self.exchange_settings.period, what="models")
        self._views = SenderRates(_HASTE / view_settings.period, what="views")

    async def answer(self, peer_id: str, message: AnyMessage) -> Frame:
        """Answer a complete, valid message; the handler for `Host.serve`.

        A model is acknowledged without another one while rows that are under way take up this peer's link.

        A model from an earlier start of its sender than the latest one known is not used, nor answered by a
        model. The answer names the later start, and a sender that does not know it restarts with a higher number.

        Raises
        ------
        PeerBusy
            The mailbox is full, or there is no model to send now.
        ReplayedMessage
            A later message was received before. The latest may be repeated, and is answered again.
        """
        if isinstance(message, View):
            return self.meetings.answer(peer_id, message)
        if not isinstance(message, ModelMessage | Pull):
            raise MessageRefused("this message is not a request", got=type(message).__name__)
        header = message.header if isinstance(message, ModelMessage) else message
        later = self.received.later_start(peer_id, header.incarnation)
        if later is not None:
            error = _of_an_earlier_start(header.incarnation, later[0])
            self.meetings.errors.log(f"neighbour {peer_id[:16]}…", error)
            return encode(Acknowledgement(incarnation=later[0], sequence=later[1]))
        if isinstance(message, Pull):
            frame = await self._model(peer_id, message.part)
            if frame is None:
                raise PeerBusy("there is no model to send now")
            return frame
        said = {"incarnation": header.incarnation, "sequence": message.header.sequence}
        if self.received.pushes.check(peer_id, **said):
            if not self.received.take(incoming(peer_id, message)):
                raise PeerBusy("the mailbox is full")
            self.received.pushes.admit(peer_id, **said)
        part = message.header.part if isinstance(message.header, PartHeader) else 0
        is_answered = message.header.wants_answer and self._may_answer()
        frame = await self._model(peer_id, part) if is_answered else None
        return frame or encode(Acknowledgement(**said))

    def _may_answer(self) -> bool:
        """Return whether the link has room for a model in answer to one, or it is needed all the same."""
        return self.learner.trains_on_answers or self.host.link.may_answer(self.outgoing.latest_bytes)

    async def _model(self, peer_id: str, part: int) -> Frame | None:
        """Return a version of the model, or a part, for a peer; None if there is none to send."""
        version = self.outgoing.versions.choose(self.learner.state, peer_id)
        if version is not None:
            with suppress(NonFiniteUpdate, BudgetSpent):  # own training has diverged, or nothing may be sent
                codec = self.outgoing.codecs.choose(peer_id)
                return await self.outgoing.frame(
                    version, recipient=peer_id, codec=codec, part=part, wants_answer=False
                )
        return None

    def screen(self, peer_id: str, header: AnyHeader) -> None:
        """Refuse a message before its body is read, if its header is reason enough.

        Raises
        ------
        PeerBusy, ReplayedMessage, ImplausibleAge, RateLimited
        """
        now = trio.current_time()
        if isinstance(header, View):
            self._views.charge(peer_id, now=now)
        if isinstance(header, Pull):
            self._models.charge(peer_id, now=now)
            self._require_permission()
        if isinstance(header, ModelHeader):
            if not self.exchange_settings.accept_pushes:
                raise PeerBusy("this peer accepts no pushes", retry_after=_NO_PUSHES_SECONDS)
            require_plausible(header)
            is_new = self.received.later_start(
                peer_id, header.incarnation
            ) is None and self.received.pushes.check(
                peer_id, incarnation=header.incarnation, sequence=header.sequence
            )
            self._models.charge(peer_id, now=now)
            self._require_permission()
            # A sender is not told that it is distrusted.
            if is_new and (self.learner.would_refuse(peer_id) or self.learner.distrusts(peer_id)):
                raise PeerBusy("the mailbox is full")

    def _require_permission(self) -> None:
        if not self.learner.merges:
            raise PeerBusy("this peer exchanges no models now", retry_after=_NO_MERGES_SECONDS)


def _of_an_earlier_start(incarnation: int, later: int) -> ReplayedMessage:
    return ReplayedMessage(
        "it sends messages from an earlier start than the latest one known",
        expected=f"incarnation {later}",
        got=incarnation,
        remedy="It was restored from a copy, or two copies of it are running; it has been notified.",
    )
