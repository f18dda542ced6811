"""A whole network of HyParView peers as arrays, handling thousands of messages at a time.

`deliver` hands at most one message to each peer and does to the arrays what the state machine of
`topology.sampling.hyparview` does to one state, given the same draws. `settle` delivers until nothing is
in flight, keeping the order of messages to each peer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from topology.bounds import check_at_least
from topology.sampling.hyparview import draws_per_event
from topology.sampling.hyparview_rows import STATE, Kind, Messages, Rows, handle
from topology.sampling.packed import Flags, Numbers, Views, nobody
from topology.sampling.settings import HyParViewSettings

__all__ = ["HyParViewOverlay", "deliver", "hyparview_overlay", "hyparview_period", "settle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HyParViewOverlay:
    """States of all peers of a network; the arrays hold peers, -1 where there is none.

    Attributes
    ----------
    settings : HyParViewSettings
    active : int32 [n, active size]
    passive : int32 [n, passive size]
    asking : int32 [n]
    refused : int32 [n, passive size]
    offered : int32 [n, shuffle length]
    alive : bool [n]
        False for peers that have vanished.
    """

    settings: HyParViewSettings
    active: Views
    passive: Views
    asking: Numbers
    refused: Views
    offered: Views
    alive: Flags

    @property
    def views(self) -> Views:
        """The active views: int32 [n, active size]."""
        return self.active


def hyparview_overlay(
    n: int,
    *,
    generator: np.random.Generator,
    settings: HyParViewSettings | None = None,
    newcomers_at_once: float = 0.1,
) -> HyParViewOverlay:
    """Network of `n` peers that joined through random members.

    Parameters
    ----------
    n : int
        Peers, at least 2.
    generator : numpy.random.Generator
        Draws contacts and all that follows.
    settings : HyParViewSettings, optional
    newcomers_at_once : float
        How many join at the same time, as a share of the members; their messages interleave. 0 lets them join
        one by one.

    Raises
    ------
    InvalidParameter
        If `n` is below 2.
    """
    n = check_at_least("n", n, 2)
    overlay = _strangers(n, settings or HyParViewSettings())
    members = 1
    while members < n:
        batch = min(max(int(members * newcomers_at_once), 1), n - members)
        newcomers = np.arange(members, members + batch, dtype=np.int32)
        contacts = generator.integers(0, members, size=batch).astype(np.int32)
        overlay.active[newcomers, 0] = contacts
        overlay = settle(overlay, _events(overlay.settings, Kind.JOIN, contacts, newcomers), generator)
        members += batch
    return overlay


def hyparview_period(overlay: HyParViewOverlay, generator: np.random.Generator) -> HyParViewOverlay:
    """Let one period pass: broken connections are noticed, every live peer ticks, all messages arrive."""
    live = np.flatnonzero(overlay.alive).astype(np.int32)
    views = overlay.active[live]
    row, column = np.nonzero((views >= 0) & ~overlay.alive[views])
    noticed = _events(overlay.settings, Kind.UNREACHABLE, live[row], views[row, column])
    ticks = _events(overlay.settings, Kind.TICK, live, live)
    return settle(overlay, Messages.joined([noticed, ticks]), generator)


def settle(overlay: HyParViewOverlay, messages: Messages, generator: np.random.Generator) -> HyParViewOverlay:
    """Deliver `messages` and all they lead to; a message to a vanished peer comes back as unreachable."""
    overlay = replace(overlay, **{name: getattr(overlay, name).copy() for name in STATE})
    width = draws_per_event(overlay.settings)
    while len(messages):
        lost = ~overlay.alive[messages.to]
        bounced = messages.at(lost & overlay.alive[messages.sender] & (messages.kind != Kind.UNREACHABLE))
        noticed = _events(overlay.settings, Kind.UNREACHABLE, bounced.sender, bounced.to)
        arriving = Messages.joined([messages.at(~lost), noticed])
        first = _first_of_each(arriving.to)
        now = arriving.at(first)
        sent = deliver(overlay, now, generator.random((len(now), width)))
        messages = Messages.joined([arriving.at(~first), *sent])
    return overlay


def deliver(overlay: HyParViewOverlay, messages: Messages, draws: NDArray[np.float64]) -> list[Messages]:
    """Hand every message to its receiver, in place; no peer receives two.

    Parameters
    ----------
    overlay : HyParViewOverlay
        Its arrays are changed.
    messages : Messages
        At most one to each peer, all to live ones.
    draws : float64 [m, draws per event]
        What each receiver draws.

    Returns
    -------
    list of Messages
        What they send; messages of one sender to one receiver are in the order sent.
    """
    sent: list[Messages] = []
    for kind in Kind:
        index = np.flatnonzero(messages.kind == kind)
        if not len(index):
            continue
        chosen = messages.at(index)
        to = chosen.to
        state = {name: getattr(overlay, name)[to] for name in STATE}
        rows = Rows(settings=overlay.settings, me=to, draws=draws[index], outbox=sent, **state)
        handle(rows, kind, chosen)
        for name in STATE:
            getattr(overlay, name)[to] = getattr(rows, name)
    return sent


def _strangers(n: int, settings: HyParViewSettings) -> HyParViewOverlay:
    return HyParViewOverlay(
        settings=settings,
        active=nobody(n, settings.active_size),
        passive=nobody(n, settings.passive_size),
        asking=nobody(n),
        refused=nobody(n, settings.passive_size),
        offered=nobody(n, settings.shuffle_length),
        alive=np.ones(n, dtype=np.bool_),
    )


def _events(settings: HyParViewSettings, kind: Kind, to: Numbers, sender: Numbers) -> Messages:
    return Messages(
        kind=np.full(len(to), kind, dtype=np.int32),
        to=to.astype(np.int32),
        sender=sender.astype(np.int32),
        subject=nobody(len(to)),
        number=np.zeros(len(to), dtype=np.int32),
        peers=nobody(len(to), settings.shuffle_length),
    )


def _first_of_each(to: Numbers) -> Flags:
    """Marks the first message to each peer."""
    first = np.zeros(len(to), dtype=np.bool_)
    first[np.unique(to, return_index=True)[1]] = True
    return first
