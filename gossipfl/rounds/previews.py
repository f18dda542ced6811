"""Summaries of rows that a member sends first, and its choice of the rows that it wants."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gossipfl.algorithms import NeighbourRows
from gossipfl.codecs import FLOAT32, PayloadTensor
from gossipfl.rounds.member_rows import Outgoing, neighbourhood_of
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.rounds.weights import weights_without

__all__ = ["summaries_of", "wanted_among"]


def summaries_of(out: Outgoing) -> dict[int, tuple[PayloadTensor, ...]]:
    """Encode the summary of what each recipient would decode, by number of the recipient."""
    exchange = _previewed(out)
    made: dict[int, tuple[PayloadTensor, ...]] = {}  # by identity, since one payload may serve all
    summaries = {}
    for recipient, payload in out.payloads.items():
        if id(payload) not in made:
            row = out.codec.decode(payload, out.form.size)
            made[id(payload)] = FLOAT32.encode(exchange.summarised(row[None])[0], key=0)
        summaries[recipient] = made[id(payload)]
    return summaries


def wanted_among(
    plan: RoundsPlan, position: Position, out: Outgoing, summaries: Mapping[int, Tensor]
) -> frozenset[int]:
    """Choose whose rows are wanted.

    Parameters
    ----------
    plan : RoundsPlan
    position : Position
    out : Outgoing
    summaries : mapping of int to Tensor
        Those that arrived, by number of the sender, ``[width]`` each; none need arrive where they have no numbers.
    """
    exchange = _previewed(out)
    if not out.form.summary:
        summaries = dict.fromkeys(out.neighbours, torch.empty(0))
    if not summaries:
        return frozenset()
    missing = [number for number in out.neighbours if number not in summaries]
    weights = weights_without(
        plan.mixing.row(position, out.form, plan.number), own=plan.number, missing=missing
    )
    own = exchange.summarised(out.sent)
    around = neighbourhood_of(weights, own, out.neighbours, summaries, number=plan.number)
    wanted = exchange.wanted(around)[0].tolist()
    return frozenset(number for number, wants in zip(out.neighbours, wanted, strict=True) if wants)


def _previewed(out: Outgoing) -> NeighbourRows:
    assert isinstance(out.exchange, NeighbourRows)  # noqa: S101  (no other exchange has previews)
    return out.exchange
