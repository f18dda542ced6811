"""One peer's side of a round's exchange: its own rows on their way out, and those received.

Used by the running peer and by the replayer, so that both do the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossipfl.algorithms import AnyExchange, LinkExchange, Mixed, Neighbourhood, NeighbourRows
from gossipfl.codecs import Codec, PayloadTensor, is_finite
from gossipfl.codecs.draws import common_key, exchange_keys, normals
from gossipfl.errors import SettingError
from gossipfl.outgoing import Draws, restored
from gossipfl.outgoing.transformation import Normals
from gossipfl.rounds.message_shapes import ExchangeForm, form_of
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.rounds.sums import sum_mixed, summand
from gossipfl.rounds.weights import average, listening_weights, median, push_weights, weights_without
from gossipfl.secure import RingRow

__all__ = ["Outgoing", "encoded_for", "mixed", "mixed_sum", "neighbourhood_of", "outgoing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """The rows that a peer sends in an exchange.

    Parameters
    ----------
    exchange : AnyExchange
        As the algorithm yielded it.
    form : ExchangeForm
    codec : Codec
    payloads : mapping of int to tuple of PayloadTensor
        By number of the recipient; the same for all, unless each link has its own message.
    sent : Tensor
        Rows as the recipients decode them, ``[1, K]`` or ``[L, K]``; K is less than ``form.size`` where a mask
        leaves numbers out.
    columns : Tensor or None
        Which numbers those are; None if they are all.
    finite : bool
        Whether it can be sent; otherwise the round will be given up.
    neighbours : tuple of int
        The members whose rows are expected.
    """

    exchange: AnyExchange
    form: ExchangeForm
    codec: Codec
    payloads: Mapping[int, tuple[PayloadTensor, ...]]
    sent: Tensor
    columns: Tensor | None
    finite: bool
    neighbours: tuple[int, ...]


def outgoing(
    plan: RoundsPlan, position: Position, exchange: AnyExchange, *, noise: Normals = normals
) -> Outgoing:
    """Encode the rows that an algorithm sends.

    Parameters
    ----------
    plan : RoundsPlan
    position : Position
    exchange : AnyExchange
    noise : callable
        Secret key of this exchange's noise; by default derived from the seed of the rounds.

    Raises
    ------
    SettingError
        If it is something else than it was when the algorithm was tried.
    """
    form = form_of(plan.name, exchange)
    if position[1] >= len(plan.forms) or plan.forms[position[1]] != form:
        raise SettingError(
            f"{plan.name} sends something else in exchange {position[1]} of round {position[0]} than at first",
            remedy="Peers run algorithms whose rounds are alike; `gossipfl sim` runs this one.",
        )
    rows = exchange.rows
    recipients = plan.mixing.recipients(position[0], form, plan.number)
    neighbours = plan.mixing.neighbours(position[0], form, plan.number)
    codec = plan.codec_of(form)
    unsent = Outgoing(
        exchange=exchange,
        form=form,
        codec=codec,
        payloads={},
        sent=rows,
        columns=None,
        finite=False,
        neighbours=neighbours,
    )
    if not is_finite(rows):
        return unsent
    numbers = torch.tensor([plan.number])
    if isinstance(exchange, LinkExchange):  # each link end has its own key
        numbers = (numbers << 32) + torch.tensor(recipients, dtype=torch.int64)
    place = {"seed": plan.seed, "round_number": position[0], "exchange": position[1]}
    draws = Draws(keys=exchange_keys(numbers, **place), common=common_key(**place), normals=noise)
    rows = plan.outgoing.transform(rows, draws)
    columns = plan.outgoing.columns(form.size, draws)
    if plan.ring is not None:  # each recipient gets an encoding of its own, with its weight
        return replace(unsent, sent=rows, columns=columns, finite=True)
    encoded = [
        codec.encode(row.contiguous(), key=int(key)) for row, key in zip(rows, draws.keys, strict=True)
    ]
    sent = torch.stack([codec.decode(payload, rows.shape[1]) for payload in encoded]) if encoded else rows
    each = encoded if isinstance(exchange, LinkExchange) else encoded * len(recipients)
    return replace(
        unsent,
        payloads=dict(zip(recipients, each, strict=True)),
        sent=sent,
        columns=columns,
        finite=True,
    )


def mixed(
    plan: RoundsPlan,
    position: Position,
    out: Outgoing,
    rows: Mapping[int, Tensor],
    *,
    untaken: Collection[int],
    listening: bool = False,
    place: int = 0,
) -> Mixed:
    """Combine the rows that arrived into the answer to the algorithm.

    Parameters
    ----------
    plan : RoundsPlan
    position : Position
    out : Outgoing
    rows : mapping of int to Tensor
        By number of the sender, shape ``[K]`` each; neighbours that are not in it are missing.
    untaken : collection of int
        Recipients that did not keep this peer's row.
    listening : bool
        Whether the peer takes over the others' rows: its own row then has no weight.
    place : int
        Index of the peer among the nodes of the round, if several are computed as one batch.
    """
    if out.form.over == "links":
        arrived = [rows.get(number, torch.zeros(out.form.size)) for number in out.neighbours]  # never masked
        return Mixed(rows=torch.stack(arrived) if arrived else out.sent, sent=out.sent)
    own = out.exchange.rows
    missing = [number for number in out.neighbours if number not in rows]
    weights = plan.mixing.row(position, out.form, plan.number)
    if listening:
        weights = listening_weights(weights, own=plan.number, missing=missing)
    elif plan.pushes:
        returned = {number: plan.mixing.row(position, out.form, number)[plan.number] for number in untaken}
        weights = push_weights(weights, own=plan.number, missing=missing, returned=returned)
    else:
        weights = weights_without(weights, own=plan.number, missing=missing)
    if isinstance(out.exchange, NeighbourRows):
        centre = median([rows[each] for each in sorted(rows)])[None] if listening and rows else out.sent
        around = neighbourhood_of(weights, centre, out.neighbours, rows, number=plan.number, place=place)
        if out.columns is not None:
            around = around.widened(own, out.columns)
        return Mixed(rows=out.exchange.combined(around), sent=restored(own, out.sent, out.columns))
    known = {**rows, plan.number: out.sent[0]}
    averaged = average(weights, known)[None]
    return Mixed(rows=restored(own, averaged, out.columns), sent=restored(own, out.sent, out.columns))


def mixed_sum(
    plan: RoundsPlan,
    position: Position,
    out: Outgoing,
    total: RingRow | None,
    summands: Collection[int],
    *,
    listening: bool = False,
) -> Mixed:
    """Combine a masked sum with the peer's own row into the answer to the algorithm.

    Parameters
    ----------
    total : ndarray or None
        The sum of the encoded rows; None if there is none.
    summands : collection of int
        Numbers of the members whose rows are in it.
    listening : bool
        As for `mixed`.
    """
    assert plan.ring is not None  # noqa: S101  (the caller's reason to call)
    own = out.exchange.rows
    weights = plan.mixing.row(position, out.form, plan.number)
    averaged = sum_mixed(
        plan.ring, out.sent, total, weights, number=plan.number, summands=summands, listening=listening
    )
    return Mixed(rows=restored(own, averaged, out.columns), sent=restored(own, out.sent, out.columns))


def encoded_for(plan: RoundsPlan, position: Position, out: Outgoing, recipient: int) -> RingRow:
    """Encode the peer's row times its weight in the masked sum at a recipient.

    Raises
    ------
    NumberOutOfRange
        It has a number that the ring does not hold.
    """
    assert plan.ring is not None  # noqa: S101  (the caller's reason to call)
    return summand(plan.ring, out.sent, weight=plan.mixing.row(position, out.form, recipient)[plan.number])


def neighbourhood_of(
    weights: Mapping[int, float],
    own: Tensor,
    neighbours: Sequence[int],
    rows: Mapping[int, Tensor],
    *,
    number: int,
    place: int = 0,
) -> Neighbourhood:
    """Make the neighbourhood of one peer, with a place for each neighbour, be its row there or not.

    Parameters
    ----------
    weights : mapping of int to float
        Of the neighbours, and of the peer itself.
    own : Tensor
        Shape ``[1, K]``.
    neighbours : sequence of int
    rows : mapping of int to Tensor
        Those that arrived, ``[K]`` each.
    number : int
        The peer's own.
    place : int
        As for `mixed`.
    """
    nothing = torch.zeros(own.shape[1])
    around = [rows.get(each, nothing) for each in neighbours] or [nothing]
    return Neighbourhood(
        nodes=torch.tensor([place]),
        own=own,
        own_weights=torch.tensor([weights.get(number, 0.0)]),
        rows=torch.stack(around)[None],
        weights=torch.tensor([[weights.get(each, 0.0) for each in neighbours] or [0.0]]),
        present=torch.tensor([[each in rows for each in neighbours] or [False]]),
        neighbours=torch.tensor([[each if each in rows else -1 for each in neighbours] or [-1]]),
    )
