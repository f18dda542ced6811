"""Versions of a peer's model, models that arrive, and what is recorded of the events between them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gossipfl.algorithms import Message
from gossipfl.training import Nodes

__all__ = ["Incoming", "State", "described_event", "origin_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A model that arrived.

    Parameters
    ----------
    message : Message
        ``B = 1``, float32, all finite.
    sender : str
        Peer id.
    incarnation, event : int
        Which version of the sender's model it is.
    sequence : int
        Which of the sender's messages since its start; what the codec drew at random depends on it.
    codec : str
        How it was sent; a replay must lose the same precision.
    begun : State, optional
        If it is an answer: this peer's own model as it was sent with the question.
    is_chosen : bool
        Whether it takes the place of this peer's own: a newcomer's choice.
    """

    message: Message
    sender: str
    incarnation: int
    sequence: int
    event: int
    codec: str
    begun: State | None = None
    is_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A version of the model.

    Parameters
    ----------
    nodes : Nodes
        ``B = 1``.
    event : int
        Number of the event that made it.
    merges_pending : int
        Models merged since the last training.
    loss : float
        Mean loss of the batches of the last training; NaN before the first.
    has_gone_back : bool
        Whether the model diverged, went back to an earlier one, and has not been trained since.
    """

    nodes: Nodes
    event: int = 0
    merges_pending: int = 0
    loss: float = float("nan")
    has_gone_back: bool = False

    @property
    def age(self) -> int:
        """Training steps the model descends from."""
        return int(self.nodes.ages[0])

    @property
    def step(self) -> int:
        """Training steps this peer has done."""
        return int(self.nodes.steps[0])


def origin_of(incoming: Incoming) -> dict[str, Any]:
    """What a record says of a model that was taken in or refused."""
    return {
        "sender": incoming.sender,
        "sender_incarnation": incoming.incarnation,
        "sender_sequence": incoming.sequence,
        "sender_event": incoming.event,
        "sender_age": int(incoming.message.ages[0]),
        "codec": incoming.codec,
    }


def described_event(state: State, *, trained: bool, began: float) -> dict[str, Any]:
    """What a record says of the version that an event made, begun at ``began`` by `time.perf_counter`."""
    described: dict[str, Any] = {
        "event": state.event,
        "age": state.age,
        "step": state.step,
        "seconds": round(time.perf_counter() - began, 6),
        "trained": trained,
    }
    if trained:
        described["loss"] = state.loss
    return described
