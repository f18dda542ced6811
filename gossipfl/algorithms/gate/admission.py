"""Messages as the gate lets them in."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gossipfl.algorithms.gate.judgement import limited
from gossipfl.algorithms.messages import Message

__all__ = ["let_in"]


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
