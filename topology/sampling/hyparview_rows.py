"""HyParView's rules on rows: each function is one rule of the state machine, for many peers at once.

Row i of every array belongs to one peer and one event it handles; no peer appears twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from topology.sampling.hyparview import DROP_ACTIVE, DROP_PASSIVE, PICK, SAMPLES
from topology.sampling.packed import (
    EMPTY,
    Flags,
    Numbers,
    Views,
    are_among,
    contains,
    counts,
    draw_order,
    nobody,
    packed,
    picked,
    pushed,
    without,
)
from topology.sampling.settings import HyParViewSettings

__all__ = ["STATE", "Kind", "Messages", "Rows", "handle"]

STATE = ("active", "passive", "asking", "refused", "offered")
"""The arrays of a peer's state, of `Rows` and of whole overlays."""


class Kind(IntEnum):
    """The kind of a message, or of what happened to a peer."""

    JOIN = 0
    FORWARD_JOIN = 1
    NEIGHBOUR_REQUEST = 2
    NEIGHBOUR_REPLY = 3
    DISCONNECT = 4
    SHUFFLE = 5
    SHUFFLE_ANSWER = 6
    UNREACHABLE = 7
    TICK = 8


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages in flight, in the order they were sent.

    Attributes
    ----------
    kind, to, sender : int32 [m]
    subject : int32 [m]
        The newcomer of a join, or the origin of a shuffle.
    number : int32 [m]
        Hops left, whether a request is urgent, or whether a reply accepts.
    peers : int32 [m, shuffle length]
        Peers a shuffle carries, packed.
    """

    kind: Numbers
    to: Numbers
    sender: Numbers
    subject: Numbers
    number: Numbers
    peers: Views

    def __len__(self) -> int:
        return len(self.kind)

    def at(self, index: NDArray[np.int64] | Flags) -> Messages:
        """Those at `index`."""
        return Messages(*(getattr(self, name)[index] for name in self.__slots__))

    @staticmethod
    def joined(parts: list[Messages]) -> Messages:
        """All of `parts`, one after another."""
        return Messages(*(np.concatenate([getattr(p, name) for p in parts]) for name in Messages.__slots__))


@dataclass(slots=True)
class Rows:
    """States of the peers that handle an event, gathered to be changed in place and put back."""

    settings: HyParViewSettings
    me: Numbers
    active: Views
    passive: Views
    asking: Numbers
    refused: Views
    offered: Views
    draws: NDArray[np.float64]
    outbox: list[Messages]

    @property
    def everywhere(self) -> Flags:
        """All rows."""
        return np.ones(len(self.me), dtype=np.bool_)

    def send(
        self,
        kind: Kind,
        to: Numbers,
        where: NDArray[np.bool_] | np.bool_,
        *,
        subject: Numbers | None = None,
        number: Numbers | int = 0,
        peers: Views | None = None,
    ) -> None:
        """Send from the rows `where`; a row without a receiver sends nothing."""
        index = np.flatnonzero(where & (to >= 0))
        if not len(index):
            return
        blank, none = nobody(len(index)), nobody(len(index), self.settings.shuffle_length)
        self.outbox.append(
            Messages(
                kind=np.full(len(index), kind, dtype=np.int32),
                to=to[index].astype(np.int32),
                sender=self.me[index],
                subject=blank if subject is None else subject[index].astype(np.int32),
                number=np.broadcast_to(np.asarray(number, dtype=np.int32), len(self.me))[index],
                peers=none if peers is None else peers[index],
            )
        )


def handle(rows: Rows, kind: Kind, messages: Messages) -> None:
    """Let every row handle its message, all of one kind."""
    _RULES[kind](rows, messages)


def _tick(rows: Rows, _: Messages) -> None:
    settings = rows.settings
    rows.refused[:] = EMPTY
    present = rows.active >= 0
    connected = present.any(axis=1)
    to = picked(rows.active, present, rows.draws[:, DROP_ACTIVE])
    others = _sampled(rows.active, rows.draws[:, SAMPLES:], settings.shuffle_active)
    spare = _sampled(rows.passive, rows.draws[:, SAMPLES + settings.active_size :], settings.shuffle_passive)
    offer = np.concatenate([others, spare], axis=1)
    offer = packed(offer, offer >= 0, settings.shuffle_length)
    rows.offered[connected] = offer[connected]
    rows.send(Kind.SHUFFLE, to, connected, subject=rows.me, number=settings.active_walk, peers=offer)
    _repair(rows, rows.everywhere)


def _let_in(rows: Rows, messages: Messages) -> None:
    newcomer = messages.sender
    _add(rows, newcomer, rows.everywhere)
    for column in range(rows.settings.active_size):
        peer = rows.active[:, column]
        rows.send(
            Kind.FORWARD_JOIN, peer, peer != newcomer, subject=newcomer, number=rows.settings.active_walk
        )


def _forward_join(rows: Rows, messages: Messages) -> None:
    newcomer, settings = messages.subject, rows.settings
    hops = np.clip(messages.number, 0, settings.active_walk)
    onward = (rows.active >= 0) & (rows.active != messages.sender[:, None])
    onward &= rows.active != newcomer[:, None]
    foreign = newcomer != rows.me
    here = (hops == 0) | (counts(rows.active) <= 1) | ~onward.any(axis=1)
    accept = foreign & here & ~contains(rows.active, newcomer)
    to = picked(rows.active, onward, rows.draws[:, PICK])
    pass_on = foreign & ~here
    _with_spare(rows, newcomer, rows.draws[:, DROP_PASSIVE], pass_on & (hops == settings.passive_walk))
    _add(rows, newcomer, accept)
    rows.send(Kind.NEIGHBOUR_REQUEST, newcomer, accept, number=1)
    rows.send(Kind.FORWARD_JOIN, to, pass_on, subject=newcomer, number=hops - 1)


def _answer_request(rows: Rows, messages: Messages) -> None:
    sender = messages.sender
    room = contains(rows.active, sender) | (counts(rows.active) < rows.settings.active_size)
    accepted = room | (messages.number > 0)
    _add(rows, sender, accepted)
    rows.send(Kind.NEIGHBOUR_REPLY, sender, rows.everywhere, number=accepted.astype(np.int32))


def _take_reply(rows: Rows, messages: Messages) -> None:
    sender = messages.sender
    due = sender == rows.asking
    rows.asking[due] = EMPTY
    held = contains(rows.active, sender)
    accepted = messages.number > 0
    full = counts(rows.active) >= rows.settings.active_size
    taken = accepted & due & ~held & ~full
    rows.send(Kind.DISCONNECT, sender, accepted & ~held & ~taken)
    _refuse(rows, sender, accepted & due & ~held & full)
    _with_neighbour(rows, sender, taken)
    refused = ~accepted & (due | held)
    _demote(rows, sender, refused)
    _repair(rows, refused | taken | (accepted & due & held))


def _disconnected(rows: Rows, messages: Messages) -> None:
    sender = messages.sender
    known = contains(rows.active, sender)
    _demote(rows, sender, known)
    _repair(rows, known)


def _demote(rows: Rows, peer: Numbers, where: Flags) -> None:
    held = where & contains(rows.active, peer)
    rows.active[:] = without(rows.active, np.where(held, peer, EMPTY))
    _with_spare(rows, peer, rows.draws[:, DROP_PASSIVE], held)
    _refuse(rows, peer, where)


def _shuffled(rows: Rows, messages: Messages) -> None:
    settings, origin = rows.settings, messages.subject
    offered = messages.peers.copy()
    offered[:, settings.shuffle_length - 1 :] = EMPTY
    hops = np.minimum(messages.number, settings.active_walk) - 1
    onward = (rows.active >= 0) & (rows.active != messages.sender[:, None])
    onward &= rows.active != origin[:, None]
    foreign = origin != rows.me
    pass_on = foreign & (hops > 0) & (counts(rows.active) > 1) & onward.any(axis=1)
    to = picked(rows.active, onward, rows.draws[:, PICK])
    rows.send(Kind.SHUFFLE, to, pass_on, subject=origin, number=hops, peers=offered)
    here = foreign & ~pass_on
    given = _sampled(rows.passive, rows.draws[:, SAMPLES + settings.active_size :], settings.shuffle_length)
    given[np.arange(given.shape[1]) >= (counts(offered) + 1)[:, None]] = EMPTY
    received = np.concatenate([origin[:, None], offered[:, :-1]], axis=1)
    _with_spares(rows, received, given, here)
    rows.send(Kind.SHUFFLE_ANSWER, origin, here, peers=given)


def _take_answer(rows: Rows, messages: Messages) -> None:
    _with_spares(rows, messages.peers, rows.offered, rows.everywhere)
    rows.offered[:] = EMPTY


def _forget(rows: Rows, messages: Messages) -> None:
    gone = messages.sender
    rows.active[:] = without(rows.active, gone)
    rows.passive[:] = without(rows.passive, gone)
    rows.asking[rows.asking == gone] = EMPTY
    _repair(rows, rows.everywhere)


def _sampled(views: Views, draws: NDArray[np.float64], size: int) -> Views:
    """Up to `size` entries of each view in the order of their draws, packed into `size` columns."""
    present = views >= 0
    order = draw_order(present, draws[:, : views.shape[1]], size)
    result = nobody(len(views), size)
    result[:, : order.shape[1]] = np.where(
        np.take_along_axis(present, order, axis=1), np.take_along_axis(views, order, axis=1), EMPTY
    )
    return result


def _repair(rows: Rows, where: Flags) -> None:
    settings = rows.settings
    active = counts(rows.active)
    wanted = (active < settings.active_size) & (counts(rows.refused) < settings.passive_size)
    index = np.flatnonzero(where & wanted & (rows.asking < 0))
    if not len(index):
        return
    passive = rows.passive[index]
    candidates = (passive >= 0) & ~are_among(passive, rows.refused[index])
    candidate = nobody(len(rows.me))
    candidate[index] = picked(passive, candidates, rows.draws[index, PICK])
    asks = candidate >= 0
    rows.asking[asks] = candidate[asks]
    rows.send(Kind.NEIGHBOUR_REQUEST, candidate, asks, number=(active == 0).astype(np.int32))


def _add(rows: Rows, peer: Numbers, where: Flags) -> None:
    """`peer` as a neighbour; a full active view drops a random one, and tells it."""
    new = where & (peer != rows.me) & ~contains(rows.active, peer)
    full = new & (counts(rows.active) >= rows.settings.active_size)
    dropped = np.where(full, picked(rows.active, rows.active >= 0, rows.draws[:, DROP_ACTIVE]), EMPTY).astype(
        np.int32
    )
    rows.active[:] = without(rows.active, dropped)
    _with_neighbour(rows, peer, new)
    _with_spare(rows, dropped, rows.draws[:, DROP_PASSIVE], full)
    rows.send(Kind.DISCONNECT, dropped, full)


def _with_neighbour(rows: Rows, peer: Numbers, where: Flags) -> None:
    rows.active[:] = pushed(rows.active, peer, where & ~contains(rows.active, peer))
    rows.passive[:] = without(rows.passive, np.where(where, peer, EMPTY))


def _refuse(rows: Rows, peer: Numbers, where: Flags) -> None:
    new = where & ~contains(rows.refused, peer) & (counts(rows.refused) < rows.settings.passive_size)
    rows.refused[:] = pushed(rows.refused, peer, new)


def _with_spare(rows: Rows, peer: Numbers, draws: NDArray[np.float64], where: Flags) -> None:
    index = np.flatnonzero(where & (peer >= 0) & (peer != rows.me))
    index = index[~contains(rows.active[index], peer[index]) & ~contains(rows.passive[index], peer[index])]
    if not len(index):
        return
    passive = rows.passive[index]
    full = counts(passive) >= rows.settings.passive_size
    gone = np.where(full, picked(passive, passive >= 0, draws[index]), EMPTY).astype(np.int32)
    rows.passive[index] = pushed(without(passive, gone), peer[index], np.ones(len(index), dtype=np.bool_))


def _with_spares(rows: Rows, peers: Views, given: Views, where: Flags) -> None:
    """`peers` as spares; in a full passive view those just given away make room first, then random ones."""
    settings = rows.settings
    first = SAMPLES + settings.active_size + settings.passive_size
    for column in range(settings.shuffle_length):
        peer = peers[:, column]
        new = where & (peer >= 0) & (peer != rows.me)
        new &= ~contains(rows.active, peer) & ~contains(rows.passive, peer)
        crowded = np.flatnonzero(new & (counts(rows.passive) >= settings.passive_size))
        if len(crowded):
            passive, offers = rows.passive[crowded], given[crowded]
            held = are_among(offers, passive)
            sacrifice = np.where(
                held.any(axis=1), offers[np.arange(len(crowded)), np.argmax(held, axis=1)], EMPTY
            )
            rows.passive[crowded] = without(passive, sacrifice.astype(np.int32))
        _with_spare(rows, peer, rows.draws[:, first + column], new)


_RULES: Mapping[Kind, Callable[[Rows, Messages], None]] = {
    Kind.JOIN: _let_in,
    Kind.FORWARD_JOIN: _forward_join,
    Kind.NEIGHBOUR_REQUEST: _answer_request,
    Kind.NEIGHBOUR_REPLY: _take_reply,
    Kind.DISCONNECT: _disconnected,
    Kind.SHUFFLE: _shuffled,
    Kind.SHUFFLE_ANSWER: _take_answer,
    Kind.UNREACHABLE: _forget,
    Kind.TICK: _tick,
}
