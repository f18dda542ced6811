"""The peer's outgoing model: one frame per message, numbered so that none can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import trio

from gossipfl.algorithms.messages import transformed
from gossipfl.codecs import FLOAT32, is_finite, message_key
from gossipfl.outgoing import Draws, Pipeline
from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.plan import GossipPlan
from gossipfl.peer.secret_noise import new_normals
from gossipfl.peer.threads import run_abandonable
from gossipfl.tasks import Task
from gossipfl.wire import Frame, encode_model

__all__ = ["LARGEST_AGE", "OutgoingModels"]

#: No greater age is sent or accepted: a step each microsecond for twelve days, and far from where counting would
#: overflow. Peers that a liar has lifted to it send it unchanged, and so go on learning from each other.
LARGEST_AGE = 2**40

_LARGE_ROW = 2**18  # numbers; encoding more than that blocks the event loop for over a millisecond


class OutgoingModels:
    """Encodes versions of the model.

    Parameters
    ----------
    task : Task
    plan : GossipPlan
    outgoing : Pipeline
        What is done to each; its codec is not None.
    sender : str
        The peer's own id.
    incarnation : int
        Which start of the peer this is.
    record : callable
        Takes one record of each secret that is to be kept.
    """

    def __init__(
        self,
        *,
        task: Task,
        plan: GossipPlan,
        outgoing: Pipeline,
        sender: str,
        incarnation: int,
        record: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._task = task
        self._plan = plan
        self._outgoing = outgoing
        self._record = record
        self._sender = sender
        self._incarnation = incarnation
        self._sequence = 0

    async def frame(self, state: State, *, wants_answer: bool) -> Frame:
        """Encode a version of the model as the next message of this peer.

        Raises
        ------
        NonFiniteUpdate
            If training has diverged; such a model is never sent.
        """
        self._sequence += 1
        sequence = self._sequence
        size = self._task.layout.shared_size
        key = message_key(self._sender, incarnation=self._incarnation, sequence=sequence)
        noise = new_normals(self._outgoing, self._record, {"sequence": sequence})

        def encode() -> Frame:
            message = self._plan.algorithm.emit(state.nodes, shared_size=size)
            if is_finite(message.shared):  # or else it is refused as it is
                draws = Draws(keys=torch.tensor([key]), normals=noise)
                message = transformed(message, self._outgoing, draws)
            return encode_model(
                message.shared[0],
                codec=self._outgoing.codec or FLOAT32,
                key=key,
                carried={name: rows[0] for name, rows in message.carried.items()},
                task=self._task.fingerprint,
                layout=self._plan.layout,
                age=min(state.age, LARGEST_AGE),
                incarnation=self._incarnation,
                sequence=sequence,
                event=state.event,
                wants_answer=wants_answer,
            )

        if size > _LARGE_ROW:
            return await run_abandonable(encode)
        await trio.lowlevel.checkpoint()
        return encode()
