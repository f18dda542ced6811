"""Received models on their way to the learner, none of which is used twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from gossipfl.algorithms import Message
from gossipfl.algorithms.messages import LARGEST_AGE
from gossipfl.errors import ImplausibleAge
from gossipfl.peer.gossip.events import Incoming
from gossipfl.peer.gossip.joining import Joining
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.view import SampledView
from gossipfl.recent import RecentMap
from gossipfl.wire import ModelHeader, ModelMessage, PartHeader, ReplayGuard

__all__ = ["ReceivedModels", "incoming", "require_plausible"]

_MOST_AGES = 1024


@dataclass(kw_only=True, eq=False)
class ReceivedModels:
    """Passes received models to the learner, or holds them back for a newcomer to choose from.

    Attributes
    ----------
    pushes, answers : ReplayGuard
        A push and an answer by the same sender may overtake each other, so each kind has its own order.
    ages : RecentMap
        Age of the newest model of each sender.
    """

    learner: Learner
    joining: Joining | None = None
    pushes: ReplayGuard = field(default_factory=ReplayGuard, init=False)
    answers: ReplayGuard = field(default_factory=ReplayGuard, init=False)
    ages: RecentMap[str, int] = field(default_factory=lambda: RecentMap(_MOST_AGES), init=False)

    @property
    def kept_bytes(self) -> int:
        """Memory of the models that wait, are being merged, or are held back."""
        held = 0 if self.joining is None else self.joining.held_bytes
        return self.learner.kept_bytes + held

    @property
    def heard_while_joining(self) -> set[str]:
        """Peers whose models were received, as long as a newcomer chooses."""
        return self.joining.heard if self.joining is not None and not self.joining.is_over else set()

    async def join(self, view: SampledView) -> None:
        """Choose the initial model, if this peer is a newcomer."""
        if self.joining is not None:
            await self.joining.choose(lambda: {peer.peer_id for peer in view.known})

    def take(self, model: Incoming) -> bool:
        """Hold a model back, or put it into the mailbox; return False if that is full."""
        self.ages[model.sender] = int(model.message.ages.max())
        return (self.joining is not None and self.joining.hold(model)) or self.learner.offer(model)

    def later_start(self, peer_id: str, incarnation: int) -> tuple[int, int] | None:
        """Return incarnation and sequence of the newest message of a later start of a peer, if any."""
        known = [each for each in (self.pushes.newest(peer_id), self.answers.newest(peer_id)) if each]
        newest = max(known, default=(0, 0))
        return newest if newest[0] > incarnation else None


def require_plausible(header: ModelHeader) -> None:
    """Raise `ImplausibleAge` if no network can have trained a model for so long."""
    if header.age > LARGEST_AGE:
        raise ImplausibleAge(
            "the age of the row is implausible", expected=f"at most {LARGEST_AGE}", got=header.age
        )


def incoming(peer_id: str, message: ModelMessage) -> Incoming:
    """Return a peer's message as the learner takes it."""
    header = message.header
    part, ages = None, torch.tensor([header.age])
    if isinstance(header, PartHeader):
        part = header.part
        ages = torch.tensor([header.ages] if len(header.ages) > 1 else header.ages)
    return Incoming(
        message=Message(
            shared=message.row[None],
            ages=ages,
            carried={name: row[None] for name, row in message.carried.items()},
        ),
        sender=peer_id,
        incarnation=header.incarnation,
        sequence=header.sequence,
        event=header.event,
        codec=header.codec,
        part=part,
    )
