"""Versions of a peer's model, received models, and the records of events."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gossipfl.algorithms import Message, Sharing
from gossipfl.training import Nodes

__all__ = ["Incoming", "Merged", "State", "described_event", "origin_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A received model.

    Parameters
    ----------
    message : Message
        ``B = 1``, float32, all finite; if a part was sent, only its numbers.
    sender : str
        Peer id.
    incarnation, event : int
        Version of the sender's model.
    sequence : int
        Number of the message since the sender's start, which determines the codec's random draws.
    codec : str
        Codec that it was sent with; a replay must lose the same precision.
    is_answer : bool
        Whether it answers an exchange that this peer began.
    part : int, optional
        Which part of the model it is, if models are not sent whole.
    begun : State, optional
        For an answer: this peer's own model that was sent with the request.
    chosen_age : int, optional
        For a newcomer's choice, which replaces this peer's own model: the age that it is credited.
    """

    message: Message
    sender: str
    incarnation: int
    sequence: int
    event: int
    codec: str
    is_answer: bool = False
    part: int | None = None
    begun: State | None = None
    chosen_age: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the model and of the rows that come with it."""
        return self.message.shared.nbytes + sum(each.nbytes for each in self.message.carried.values())

    def whole(self, own: Tensor, sharing: Sharing, *, is_spent: bool) -> Message:
        """Return the message with a whole row, in which the parts that were not sent are this peer's own.

        Parameters
        ----------
        own : Tensor
            Shared parameters, ``[1, P]``.
        is_spent : bool
            As in `Message`.
        """
        if self.part is None:
            return replace(self.message, is_spent=is_spent)
        filled = sharing.filled(own, self.part, self.message.shared)
        return replace(self.message, shared=filled, part=torch.tensor([self.part]), is_spent=is_spent)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A version of the model.

    Parameters
    ----------
    nodes : Nodes
        ``B = 1``.
    event : int
        Number of the event that produced it.
    merges_pending : int
        Models merged since the last training.
    loss : float
        Mean loss of the batches of the last training; NaN before the first.
    has_gone_back : bool
        Whether the model diverged, was reset to an earlier one, and has not been trained since.
    """

    nodes: Nodes
    event: int = 0
    merges_pending: int = 0
    loss: float = float("nan")
    has_gone_back: bool = False

    @property
    def age(self) -> int:
        """Age of the model, in training steps."""
        return int(self.nodes.ages.max())

    @property
    def step(self) -> int:
        """Training steps done by this peer."""
        return int(self.nodes.steps[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A model that was merged, as token accounts answer it.

    Parameters
    ----------
    event : int
        In which it was.
    part : int
        Which part of the model it was, if not the whole.
    is_useful : bool
        Whether it was no older than the peer's own.
    """

    event: int
    part: int
    is_useful: bool

    @classmethod
    def into(cls, before: State, message: Message, *, event: int, part: int, place: int) -> Merged:
        """The message merged into the state before it, where part ``place`` of models has an age of its own."""
        received, own = (int(ages.reshape(-1)[place]) for ages in (message.ages, before.nodes.ages))
        return cls(event=event, part=part, is_useful=received >= own)


def origin_of(incoming: Incoming) -> dict[str, Any]:
    """Return a record's fields about the origin of a received model."""
    return {
        "sender": incoming.sender,
        "sender_incarnation": incoming.incarnation,
        "sender_sequence": incoming.sequence,
        "sender_event": incoming.event,
        "sender_age": int(incoming.message.ages.max()),
        "part": incoming.part,
        "codec": incoming.codec,
    }


def described_event(state: State, *, trained: bool, began: float) -> dict[str, Any]:
    """Return a record's fields about the version produced by an event that began at ``began`` (`perf_counter`)."""
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
