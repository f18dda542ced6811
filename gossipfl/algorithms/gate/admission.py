"""Received models, and how far the gate lets them in."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gossipfl.algorithms.gate.judgement import limited
from gossipfl.algorithms.messages import Message

__all__ = ["Admission", "Arrival", "Claim", "as_let_in", "let_in"]

_YOUNG_SHARE = 1 / 16  # of the node's own age


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What comes with a received model, and what a node knows when it arrives.

    Parameters
    ----------
    sender : hashable
        Proven identity.
    own_age, age : int
        Age of the node's own model, and the claimed one.
    now : float
        Seconds, of a clock that does not jump.
    version : tuple of int, optional
        Which version of the sender's model it is; the same one again is neither news nor an offence.
    part : int, optional
        Which part of the sender's model it is, if it is not whole.
    is_answer : bool, optional
        Whether this node has chosen the sender, and asked it.
    neighbours : int
        Number of neighbours that the node knows: whether there are enough to be heard before one is believed.
    """

    sender: Hashable
    own_age: int
    age: int
    now: float
    version: tuple[int, int] | None = None
    part: int | None = None
    is_answer: bool = False
    neighbours: int = 0

    @property
    def is_young(self) -> bool:
        """Whether it claims few training steps beside the node's own."""
        return self.age <= _YOUNG_SHARE * self.own_age and self.own_age > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival(Claim):
    """A received model, and the node's own at that moment.

    Parameters
    ----------
    own, received : Tensor
        Shared parameters, shape ``[1, P]``, or one part of them.
    losses : callable, optional
        Returns the loss of a row on the node's own samples, and that of the initial row.
    """

    own: Tensor
    received: Tensor
    losses: Callable[[Tensor], tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The gate's decision.

    Parameters
    ----------
    reason : str
        ``plausible``, ``far`` (clipped), ``share`` (its sender has more than its share of the merges), ``echo``
        (a model of the peer's own, handed back), ``first`` (others are still to be heard, to compare it with), or
        why it was refused: one of `Reason`, or ``quarantined``.
    share : float
        Share of the way to the received model that is allowed; 0 if it was refused.
    age : int
        The age that is credited.
    distance : float
        ‖y − x‖; NaN where it was not computed.
    is_surplus : bool
        Whether its sender has more than its share of the merges, or echoes. It must not set the pace of training:
        that many local steps between two models of others would undo what these bring.
    """

    reason: str
    share: float
    age: int
    distance: float = math.nan
    is_surplus: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether nothing of the model is taken."""
        return self.share == 0.0

    def changes(self, claimed: int) -> dict[str, Any]:
        """Return what the records of a merge say of it: nothing if the model came in as it was claimed to be."""
        if self.share == 1.0 and self.age == claimed:
            return {}
        return {"gate": self.reason, "share": self.share, "credited_age": self.age}

    def apply(self, own: Tensor, received: Tensor) -> Tensor:
        """Give the row that is merged, ``[B, P]``."""
        return limited(own, received, torch.tensor([self.share], dtype=torch.float64))


def as_let_in(message: Message, own: Tensor, admissions: Sequence[Admission]) -> Message:
    """Messages as they are merged: pulled towards the receivers' models, and at the credited ages.

    Parameters
    ----------
    message : Message
        B messages.
    own : Tensor
        Rows of the receivers, ``[B, D]``.
    admissions : sequence of Admission
        One for each; of those that are refused nothing is left.

    Returns
    -------
    Message
    """
    claimed = message.ages
    credited = torch.tensor([each.age for each in admissions]).to(claimed.device)
    ages = torch.minimum(claimed, credited.view(-1, *[1] * (claimed.dim() - 1)))
    if all(each.share == 1.0 for each in admissions):
        return replace(message, ages=ages)
    shares = torch.tensor([each.share for each in admissions], dtype=torch.float64)
    return let_in(message, own, shares=shares.to(message.shared.device), ages=ages)


def let_in(message: Message, own: Tensor, *, shares: Tensor, ages: Tensor) -> Message:
    """Pull messages towards the receivers' models, and give them the credited ages.

    Parameters
    ----------
    message : Message
        B messages.
    own : Tensor
        Rows of the receivers, ``[B, D]``.
    shares : Tensor
        Share of the way from the receiver's model that is allowed, float64 ``[B]``.
    ages : Tensor
        Int64, as ``message.ages``.

    Returns
    -------
    Message
    """
    received = message.shared
    out = received if message.is_spent and not (shares == 1).any() else None
    return replace(message, shared=limited(own[:, : message.size], received, shares, out=out), ages=ages)
