"""Messages in transit: transformed by their senders, and as their receivers decode them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from gossipfl.algorithms.messages import Message
from gossipfl.outgoing import Draws, Pipeline

__all__ = ["as_received", "transformed"]


def transformed(message: Message, outgoing: Pipeline, draws: Draws) -> Message:
    """Messages as passed to their codec: rows ``[B, K]`` transformed, single numbers unchanged.

    Parameters
    ----------
    message : Message
    outgoing : Pipeline
        Without a mask.
    draws : Draws
        Each of a message's rows draws for itself.
    """
    if not outgoing.transformations:
        return message
    rows = _rows(message)
    new = [outgoing.transform(each, draws, row=place) for place, each in enumerate(rows.values())]
    return _with_rows(message, dict(zip(rows, new, strict=True)))


def as_received(message: Message, outgoing: Pipeline, draws: Draws) -> Message:
    """Messages as their receivers decode them."""
    message, codec = transformed(message, outgoing, draws), outgoing.codec
    if codec is None:
        return message
    rows = _rows(message)
    return _with_rows(message, {name: codec.compress(each, keys=draws.keys) for name, each in rows.items()})


def _rows(message: Message) -> dict[str, Tensor]:
    """All rows ``[B, K]`` of messages; the model has the empty name."""
    return {"": message.shared, **{name: rows for name, rows in message.carried.items() if rows.dim() > 1}}


def _with_rows(message: Message, rows: Mapping[str, Tensor]) -> Message:
    carried = {name: rows.get(name, each) for name, each in message.carried.items()}
    return replace(message, shared=rows[""], carried=carried)
