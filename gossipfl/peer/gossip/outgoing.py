"""Frames of a peer's outgoing models, numbered so that none can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import trio

from gossipfl.algorithms.in_transit import transformed
from gossipfl.algorithms.messages import LARGEST_AGE
from gossipfl.codecs import Compressor, is_finite, message_key
from gossipfl.errors import NonFiniteUpdate
from gossipfl.outgoing import Draws, Pipeline
from gossipfl.peer.gossip.codec_choice import Codecs
from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.plan import GossipPlan
from gossipfl.peer.gossip.sending import VersionsSent
from gossipfl.peer.privacy_budget import Budget
from gossipfl.peer.secret_noise import new_normals
from gossipfl.peer.threads import run_abandonable
from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.tasks import Task
from gossipfl.wire import Frame, Pull, encode, encode_model

__all__ = ["OutgoingModels"]

_LARGE_ROW = 2**18  # numbers; encoding more blocks the event loop for over a millisecond


@dataclass(kw_only=True, eq=False)
class OutgoingModels:
    """Encodes versions of the model.

    Parameters
    ----------
    outgoing : Pipeline
        Applied to each model, but for its codec.
    codecs : Codecs
        Codec of a model for each neighbour.
    sender : str
        The peer's own id.
    incarnation : int
        Number of this start of the peer.
    record : callable
        Called with one record of each secret that is to be recorded.
    versions : VersionsSent
        Those that are being sent.
    budget : Budget, optional
        Spent before a model is sent.

    Attributes
    ----------
    latest_bytes : int
        Length of the latest frame of a model; about that of the first before there is one.
    """

    task: Task
    plan: GossipPlan
    outgoing: Pipeline
    codecs: Codecs
    sender: str
    incarnation: int
    record: Callable[[Mapping[str, Any]], None]
    versions: VersionsSent
    budget: Budget | None = None

    def __post_init__(self) -> None:
        self._sequence = 0
        shared = self.plan.sharing.share_of(self.task.layout.shared_size)
        self.latest_bytes = self.outgoing.payload_bytes(shared)

    def pull(self, part: int) -> Frame:
        """Encode a request for a model, or for a part of one."""
        return encode(
            Pull(
                task=self.task.fingerprint,
                layout=self.plan.layout,
                incarnation=self.incarnation,
                part=part,
            )
        )

    async def frame(
        self, state: State, *, recipient: str, codec: Compressor, part: int, wants_answer: bool
    ) -> Frame:
        """Encode a version of the model as the next message of this peer.

        Parameters
        ----------
        recipient : str
            Peer id.
        codec : Compressor
            As `codecs` chooses it.
        part : int
            Number of the part to send; 0 if models are sent whole.

        Raises
        ------
        NonFiniteUpdate
            Training has diverged; such a model is never sent.
        BudgetSpent
            The privacy budget allows no further model.
        """
        if self.budget is not None:
            self.budget.spend(1 + len(self.plan.algorithm.behaviour.carries))
        self._sequence += 1
        sequence = self._sequence
        size = self.task.layout.shared_size
        key = message_key(self.sender, incarnation=self.incarnation, sequence=sequence)
        noise = new_normals(self.outgoing, self.record, {"sequence": sequence})

        def encoded() -> Frame:
            number = torch.tensor([part])
            message = self.plan.algorithm.emit(state.nodes, shared_size=size, part=number)
            if is_finite(message.shared):  # otherwise encoding refuses it
                draws = Draws(keys=torch.tensor([key]), normals=noise)
                message = transformed(message, self.outgoing, draws)
            ages = message.ages.clamp(max=LARGEST_AGE)
            return encode_model(
                self.plan.sharing.numbers(message.shared, part)[0].contiguous(),
                codec=codec,
                key=key,
                carried={name: rows[0] for name, rows in message.carried.items()},
                task=self.task.fingerprint,
                layout=self.plan.layout,
                age=int(ages.max()),
                incarnation=self.incarnation,
                sequence=sequence,
                event=state.event,
                wants_answer=wants_answer,
                part=None if message.part is None else part,
                ages=() if message.part is None else tuple(ages.flatten().tolist()),
            )

        if size > _LARGE_ROW:
            frame = await run_abandonable(encoded)
        else:
            await trio.lowlevel.checkpoint()
            frame = encoded()
        self.versions.add(state, frame, recipient)
        self.latest_bytes = frame.size
        return frame

    async def newer_frame(
        self,
        sent: Frame,
        remaining: float,
        *,
        newest: Callable[[], State],
        age: int,
        recipient: str,
        codec: Compressor,
        part: int,
        wants_answer: bool,
    ) -> Frame | None:
        """Encode the newest version if it brings more age a byte than what remains of another one; or return None.

        Parameters
        ----------
        sent : Frame
            Of which a share ``remaining`` has not arrived, of a model of ``age``.
        newest : callable
            Returns the newest version.
        """
        version = newest()
        if version.age * remaining <= age:
            return None
        try:
            newer = await self.frame(
                version, recipient=recipient, codec=codec, part=part, wants_answer=wants_answer
            )
        except (NonFiniteUpdate, BudgetSpent):
            return None
        sent.release()
        return newer
