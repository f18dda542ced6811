"""A whole network of Cyclon peers as arrays, evolving exactly as the state machines would.

In a period every live peer ticks once and its exchange completes before its next event. Exchanges that
share no peer commute, so each period is run as batches of disjoint exchanges: an array operation on
thousands of views at a time, with the same outcome as running them one after another in the order returned.
Fed the same draws in that order, the machines of `topology.sampling.cyclon` reach the same views, entry by
entry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from topology.bounds import check_choice
from topology.errors import InvalidParameter
from topology.sampling.packed import EMPTY, Flags, Numbers, Views, draw_order, packed
from topology.sampling.settings import CyclonSettings

__all__ = ["CyclonOverlay", "CyclonPeriodDraws", "cyclon_overlay", "cyclon_period", "draw_cyclon_period"]

Start = Literal["random", "ring", "star"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclonOverlay:
    """Views of all peers of a network.

    Attributes
    ----------
    settings : CyclonSettings
    views : int32 [n, view size]
        Peers in each view, -1 where there is none.
    ages : int32 [n, view size]
        Their ages in periods.
    alive : bool [n]
        False for peers that have vanished.
    """

    settings: CyclonSettings
    views: Views
    ages: Numbers
    alive: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclonPeriodDraws:
    """All the chance in one period.

    Attributes
    ----------
    ticks : float64 [n, 2 × view size]
        What peer i's tick draws.
    answers : float64 [n, view size]
        What the peer answering i's request draws.
    precedence : int64 [n]
        A permutation: of exchanges that share a peer the one with the lower number goes first.
    """

    ticks: NDArray[np.float64]
    answers: NDArray[np.float64]
    precedence: NDArray[np.int64]


def cyclon_overlay(
    n: int, *, generator: np.random.Generator, start: Start = "random", settings: CyclonSettings | None = None
) -> CyclonOverlay:
    """Network of `n` peers whose views are set by hand, all at age 0.

    Parameters
    ----------
    n : int
        Peers, more than the view size.
    generator : numpy.random.Generator
        Draws the random views.
    start : {"random", "ring", "star"}
        What each peer knows at first: as many random others as fit; the next ones on a ring; or only peer 0.
    settings : CyclonSettings, optional

    Raises
    ------
    InvalidParameter
        If `n` is not above the view size, or `start` is none of the three.
    """
    check_choice("start", start, Start)
    settings = settings or CyclonSettings()
    width = settings.view_size
    if n <= width:
        raise InvalidParameter("too few peers for this view size", expected=f"n > {width}", got=n)
    numbers = np.arange(n)
    if start == "random":
        hops = _distinct_hops(n, width, generator)
    elif start == "ring":
        hops = np.broadcast_to(np.arange(1, width + 1), (n, width))
    else:
        hops = np.full((n, width), n)
        hops[1:, 0] = n - numbers[1:]
    views = np.where(hops < n, (numbers[:, None] + hops) % n, EMPTY).astype(np.int32)
    return CyclonOverlay(
        settings=settings, views=views, ages=np.zeros_like(views), alive=np.ones(n, dtype=np.bool_)
    )


def draw_cyclon_period(overlay: CyclonOverlay, generator: np.random.Generator) -> CyclonPeriodDraws:
    """Draw the chance of one period."""
    n, width = overlay.views.shape
    return CyclonPeriodDraws(
        ticks=generator.random((n, 2 * width)),
        answers=generator.random((n, width)),
        precedence=generator.permutation(n),
    )


def cyclon_period(
    overlay: CyclonOverlay, draws: CyclonPeriodDraws, *, ticking: Flags | None = None
) -> tuple[CyclonOverlay, NDArray[np.int64]]:
    """Let every live peer tick once, or those of them that `ticking` says.

    Returns
    -------
    overlay : CyclonOverlay
        The network one period later.
    order : int64 [ticking peers]
        An order in which ticking one after another has this very outcome.
    """
    overlay = replace(overlay, views=overlay.views.copy(), ages=overlay.ages.copy())
    waiting = np.flatnonzero(overlay.alive if ticking is None else overlay.alive & ticking)
    order: list[NDArray[np.int64]] = []
    while len(waiting):
        slots, partners = _oldest(overlay.views[waiting], overlay.ages[waiting], draws.ticks[waiting])
        ready = _disjoint(waiting, partners, overlay.alive, draws.precedence)
        _exchange(overlay, draws, starters=waiting[ready], partners=partners[ready], slots=slots[ready])
        order.append(waiting[ready])
        waiting = waiting[~ready]
    return overlay, np.concatenate(order) if order else waiting


def _distinct_hops(n: int, width: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of distinct numbers from 1 to n − 1; rows with a repetition are drawn again."""
    if n <= 4 * width:
        keys = generator.random((n, n - 1))
        return np.argsort(keys, axis=1)[:, :width] + 1
    hops = generator.integers(1, n, size=(n, width))
    while True:
        ordered = np.sort(hops, axis=1)
        clash = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        if not len(clash):
            return hops
        hops[clash] = generator.integers(1, n, size=(len(clash), width))


def _oldest(
    views: Views, ages: Numbers, draws: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Place and peer of each view's oldest entry; peer -1 for an empty view."""
    width = views.shape[1]
    keys = np.where(views >= 0, (ages + 1) + draws[:, :width], -1.0)
    slots = np.argmax(keys, axis=1)
    return slots, views[np.arange(len(views)), slots]


def _disjoint(
    starters: NDArray[np.int64],
    partners: NDArray[np.int32],
    alive: Flags,
    precedence: NDArray[np.int64],
) -> Flags:
    """Of the exchanges proposed, those that come first at both of their ends."""
    rank = precedence[starters]
    answered = (partners >= 0) & alive[partners]
    first = np.full(len(alive), len(alive), dtype=np.int64)
    first[starters] = rank
    np.minimum.at(first, partners[answered], rank[answered])
    ready: Flags = (first[starters] == rank) & (~answered | (first[partners] == rank))
    return ready


def _exchange(
    overlay: CyclonOverlay,
    draws: CyclonPeriodDraws,
    *,
    starters: NDArray[np.int64],
    partners: NDArray[np.int32],
    slots: NDArray[np.int64],
) -> None:
    """Complete disjoint exchanges, in place; those with a vanished partner end after the request."""
    views, ages = overlay.views, overlay.ages
    settings, width = overlay.settings, overlay.settings.view_size
    rows = np.arange(len(starters))[:, None]
    mine, my_ages = views[starters], ages[starters]
    my_ages[mine >= 0] += 1
    remains = mine >= 0
    remains[rows[:, 0], slots] = False
    chosen = draw_order(remains, draws.ticks[starters, width:], settings.shuffle_length - 1)
    chosen_valid = remains[rows, chosen]
    request = np.concatenate([starters[:, None], np.where(chosen_valid, mine[rows, chosen], EMPTY)], axis=1)
    request_ages = np.concatenate(
        [np.zeros((len(starters), 1), dtype=np.int32), my_ages[rows, chosen]], axis=1
    )
    views[starters] = packed(mine, remains, width)
    ages[starters] = packed(my_ages, remains, width, fill=0)

    answered = np.flatnonzero((partners >= 0) & overlay.alive[partners])
    if not len(answered):
        return
    who, whom = starters[answered], partners[answered]
    theirs, their_ages = views[whom], ages[whom]
    order = draw_order(theirs >= 0, draws.answers[who], settings.shuffle_length)
    back = np.arange(len(whom))[:, None]
    reply, reply_ages = theirs[back, order], their_ages[back, order]
    request, request_ages = request[answered].astype(np.int32), request_ages[answered]
    views[whom], ages[whom] = _merged(
        settings, whom, (theirs, their_ages), (reply, reply_ages), (request, request_ages)
    )
    views[who], ages[who] = _merged(
        settings, who, (views[who], ages[who]), (request[:, 1:], request_ages[:, 1:]), (reply, reply_ages)
    )


def _merged(
    settings: CyclonSettings,
    me: NDArray[np.int64] | NDArray[np.int32],
    view: tuple[Views, Numbers],
    sent: tuple[Views, Numbers],
    received: tuple[Views, Numbers],
) -> tuple[Views, Numbers]:
    """Views after a swap: unsent entries, then new ones, then those sent for which there is still room."""
    (mine, my_ages), (away, away_ages), (offered, offered_ages) = view, sent, received
    same = (mine[:, :, None] == offered[:, None, :]) & (mine >= 0)[:, :, None]
    known = same.any(axis=1) | (offered == np.asarray(me)[:, None])
    if settings.healing:
        ceiling = np.iinfo(np.int32).max
        my_ages = np.minimum(my_ages, np.where(same, offered_ages[:, None, :], ceiling).min(axis=2))
        same_away = (away[:, :, None] == offered[:, None, :]) & (away >= 0)[:, :, None]
        away_ages = np.minimum(away_ages, np.where(same_away, offered_ages[:, None, :], ceiling).min(axis=2))
    unsent = (mine >= 0) & ~(mine[:, :, None] == away[:, None, :]).any(axis=2)
    pool = np.concatenate([mine, offered, away], axis=1)
    pool_ages = np.concatenate([my_ages, offered_ages, away_ages], axis=1)
    valid = np.concatenate([unsent, (offered >= 0) & ~known, away >= 0], axis=1)
    if settings.healing:
        valid &= ~_oldest_surplus(pool_ages, valid, settings)
    width = settings.view_size
    return packed(pool, valid, width), packed(pool_ages, valid, width, fill=0)


def _oldest_surplus(ages: Numbers, valid: Flags, settings: CyclonSettings) -> Flags:
    """The oldest entries, which healing takes out: the last of equally old ones first."""
    surplus = np.maximum(valid.sum(axis=1) - settings.view_size, 0)
    limit = np.minimum(surplus, settings.healing)
    columns = ages.shape[1]
    keys = np.where(valid, ages.astype(np.int64) * columns + np.arange(columns), -1)
    order = np.argsort(-keys, axis=1, kind="stable")[:, : settings.healing]
    gone = np.zeros_like(valid)
    rows = np.arange(len(ages))[:, None]
    gone[rows, order] = np.arange(order.shape[1]) < limit[:, None]
    return gone
