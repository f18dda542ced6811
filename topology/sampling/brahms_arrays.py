"""A whole network of Brahms peers as arrays, some of them hostile, evolving exactly as the state machines would.

In a period all honest live peers tick at once, then their requests arrive, then the replies. Given the same
draws, the machines of `topology.sampling.brahms` reach the same views and samples, entry by entry. Hostile peers
push themselves at a multiple of the honest rate, and tell of each other alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topology.bounds import check_number
from topology.errors import InvalidParameter
from topology.sampling.brahms import CHECKED, KEPT, PARTNERS, PUSHED, RECALLED, TOLD
from topology.sampling.brahms_rows import counting_keys, in_order, names_to_ask, salted_keys, sampled
from topology.sampling.packed import EMPTY, Flags, Views, are_among, first_of_each, nobody, packed
from topology.sampling.ranks import Keys, keys_of, ranks
from topology.sampling.settings import BrahmsSettings
from topology.sampling.tally import FULL, Tallies, distinct, is_repeated, places, sums, tallied

__all__ = ["BrahmsOverlay", "BrahmsPeriodDraws", "brahms_overlay", "brahms_period", "draw_brahms_period"]

_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class BrahmsOverlay:
    """The states of all peers of a network.

    Attributes
    ----------
    settings : BrahmsSettings
    keys : uint64 [n, samples]
        Of the samplers.
    period : uint64 [n]
        Keys of the period's random orders.
    views : int32 [n, view size]
        Peers in each view, -1 where there is none.
    samples : int32 [n, samples]
        What each sampler holds, -1 if nothing.
    pushed : int32 [n, pushes]
        Who pushed itself in the last period and is let in.
    heard : int32 [n, requests, told]
        Names heard in the last period.
    proved : int32 [n, probes]
        Who answered for the first time.
    told, visits : uint8 [n, counters]
        Tallies of names and of pushes.
    total, distinct : int64 [n]
        What each tally of names counted, and in how many places.
    strangers : int64 [n]
        Places of each tally of pushes that the last period was the first to count.
    alive : bool [n]
        False for peers that have vanished.
    hostile : bool [n]
        Peers that follow no protocol; their rows mean nothing.
    periods : int
        Number of the next period, from 1.
    """

    settings: BrahmsSettings
    keys: Keys
    period: Keys
    views: Views
    samples: Views
    pushed: Views
    heard: NDArray[np.int32]
    proved: Views
    told: Tallies
    visits: Tallies
    total: NDArray[np.int64]
    distinct: NDArray[np.int64]
    strangers: NDArray[np.int64]
    alive: Flags
    hostile: Flags
    periods: int = 1

    @property
    def honest(self) -> Flags:
        """Peers that are alive and follow the protocol."""
        return self.alive & ~self.hostile


@dataclass(frozen=True, slots=True, kw_only=True)
class BrahmsPeriodDraws:
    """All the chance in one period.

    Attributes
    ----------
    ticks : float64 [n]
        What peer i's tick draws.
    pushes : int32 [m, 2]
        Hostile pushes: by whom, to whom.
    lies : int32 [n, requests, told]
        What the one asked would tell, were it hostile.
    """

    ticks: NDArray[np.float64]
    pushes: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 2), dtype=np.int32))
    lies: NDArray[np.int32] | None = None


def brahms_overlay(
    n: int,
    *,
    generator: np.random.Generator,
    hostile: float = 0.0,
    known: int | None = None,
    settings: BrahmsSettings | None = None,
) -> BrahmsOverlay:
    """Network of `n` peers that know random others, the last ones of them hostile.

    Parameters
    ----------
    n : int
        Peers, more than the view size.
    generator : numpy.random.Generator
    hostile : float
        Share of the peers that is hostile.
    known : int, optional
        Peers each has met at first; as many as the view holds if left out.
    settings : BrahmsSettings, optional

    Raises
    ------
    InvalidParameter
        If `n` is not above the view size, or `hostile` is not a share.
    """
    settings = settings or BrahmsSettings()
    if n <= settings.view_size:
        raise InvalidParameter(
            "too few peers for this view size", expected=f"n > {settings.view_size}", got=n
        )
    hostile = check_number("hostile", hostile, ge=0, lt=1, remedy="Pass the share of hostile peers")
    draws = generator.random((n, 1 + settings.samples))
    hops = generator.integers(1, n, size=(n, settings.view_size))
    views = ((np.arange(n)[:, None] + hops) % n).astype(np.int32)
    views[:, settings.view_size if known is None else known :] = EMPTY
    views = packed(views, first_of_each(views), settings.view_size)
    keys = keys_of(draws)

    return BrahmsOverlay(
        settings=settings,
        keys=keys[:, 1:],
        period=keys[:, 0],
        views=views,
        samples=nobody(n, settings.samples),
        pushed=nobody(n, settings.pushes),
        heard=nobody(n, settings.requests, settings.told),
        proved=nobody(n, settings.probes),
        told=np.zeros((n, settings.counters), dtype=np.uint8),
        visits=np.zeros((n, settings.counters), dtype=np.uint8),
        total=np.zeros(n, dtype=np.int64),
        distinct=np.zeros(n, dtype=np.int64),
        strangers=np.zeros(n, dtype=np.int64),
        alive=np.ones(n, dtype=np.bool_),
        hostile=np.arange(n) >= n - round(hostile * n),
    )


def draw_brahms_period(
    overlay: BrahmsOverlay, generator: np.random.Generator, *, multiple: float = 1.0
) -> BrahmsPeriodDraws:
    """Draw the chance of one period.

    Parameters
    ----------
    overlay : BrahmsOverlay
    generator : numpy.random.Generator
    multiple : float
        Of the requests an honest peer sends in a period, how many a hostile one sends, to random honest peers.
    """
    settings, n = overlay.settings, len(overlay.views)
    ticks = generator.random(n)
    liars = np.flatnonzero(overlay.alive & overlay.hostile)
    if not len(liars):
        return BrahmsPeriodDraws(ticks=ticks)
    by = np.repeat(liars, round(multiple * settings.requests))
    to = generator.choice(np.flatnonzero(overlay.honest), size=len(by))
    lies = generator.choice(liars, size=(n, settings.requests, settings.told))
    return BrahmsPeriodDraws(
        ticks=ticks, pushes=np.stack([by, to], axis=1).astype(np.int32), lies=lies.astype(np.int32)
    )


def brahms_period(overlay: BrahmsOverlay, draws: BrahmsPeriodDraws) -> BrahmsOverlay:
    """Return the network one period later."""
    rows, n, settings = np.flatnonzero(overlay.honest), len(overlay.views), overlay.settings
    period, views, samples = overlay.period.copy(), overlay.views.copy(), overlay.samples.copy()
    told, visits, total, taken = _aged(overlay)
    partners, names, checked = nobody(n, settings.partners), nobody(n, settings.probes), nobody(n, 1)
    ticked: tuple[NDArray[Any], ...] = (period, views, samples, partners, names, checked)
    for block in np.array_split(rows, max(len(rows) // _BLOCK, 1)):
        where = places(
            overlay.heard[block], counting_keys(overlay.keys[block])[:, None, None], settings.counters
        )
        counts = told[block[:, None, None], where].astype(np.int64) + visits[block[:, None, None], where]
        found = _tick(overlay, block, keys_of(draws.ticks[block]), counts)
        for array, part in zip(ticked, found, strict=True):
            array[block] = part
        some, tellers, columns = np.nonzero(overlay.heard[block] >= 0)
        more, first = tallied(told, block[some], where[some, tellers, columns])
        total, taken = total + more, taken + first
    asked = np.concatenate([partners, names, checked], axis=1)
    gone = np.where((asked >= 0) & ~overlay.alive[asked], asked, EMPTY)
    affected = np.flatnonzero((gone >= 0).any(axis=1))
    if len(affected):
        dead = gone[affected]
        views[affected] = packed(
            views[affected], (views[affected] >= 0) & ~are_among(views[affected], dead), views.shape[1]
        )
        samples[affected] = np.where(are_among(samples[affected], dead), EMPTY, samples[affected])
    later = replace(
        overlay,
        periods=overlay.periods + 1,
        period=period,
        views=views,
        samples=samples,
        told=told,
        visits=visits,
        total=total,
        distinct=taken,
    )
    pushed, strangers = _pushed(later, asked, draws.pushes)
    return replace(
        later,
        pushed=pushed,
        strangers=strangers,
        heard=_heard(later, asked, draws.lies),
        proved=packed(names, (names >= 0) & overlay.alive[names], names.shape[1]),
    )


def _aged(
    overlay: BrahmsOverlay,
) -> tuple[Tallies, Tallies, NDArray[np.int64], NDArray[np.int64]]:
    """The tallies, those that are full halved: what was long ago counts less."""
    told, visits = overlay.told.copy(), overlay.visits.copy()
    total, taken = overlay.total.copy(), overlay.distinct.copy()
    full = np.flatnonzero(total > FULL * overlay.distinct)
    if len(full):
        told[full] >>= 1
        visits[full] >>= 1
        total[full], taken[full] = sums(told[full]), distinct(told[full])
    return told, visits, total, taken


def _tick(
    overlay: BrahmsOverlay, block: NDArray[np.int64], period: Keys, counts: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    settings, old = overlay.settings, overlay.period[block]
    pushed, proved, held = overlay.pushed[block], overlay.proved[block], overlay.samples[block]
    flooded = (overlay.strangers[block] > settings.requests)[:, None]
    pushed = np.where(flooded, EMPTY, pushed)
    kept = in_order(overlay.views[block], old, KEPT, width=settings.view_size)
    filled = np.concatenate([kept, proved, pushed], axis=1)
    view = packed(filled, first_of_each(filled), settings.view_size)
    tells_apart = is_repeated(overlay.total[block], overlay.distinct[block])[:, None]
    trusts = tells_apart & ~flooded
    counts = np.where(tells_apart[:, :, None], counts, 0)
    if overlay.periods % settings.renewal == 0:
        recalled = in_order(held, old, RECALLED, width=max(settings.history, 1))[:, : settings.history]
        pool = np.concatenate([pushed, proved[:, : settings.pulls], recalled, kept], axis=1)
        view = np.where(trusts, packed(pool, first_of_each(pool), settings.view_size), view)
    let_in = np.where(trusts, np.concatenate([pushed, proved], axis=1), EMPTY)
    samples = sampled(held, np.concatenate([let_in, view], axis=1), overlay.keys[block])
    partners = in_order(view, period, PARTNERS, width=settings.partners)
    known = np.concatenate([view, samples, block[:, None].astype(np.int32)], axis=1)
    names = names_to_ask(overlay.heard[block], known, period, counts, width=settings.probes)
    others = np.where(are_among(samples, np.concatenate([partners, names], axis=1)), EMPTY, samples)
    checked = in_order(others, period, CHECKED, width=1)
    return period, view, samples, partners, names, checked


def _pushed(
    overlay: BrahmsOverlay, asked: Views, hostile_pushes: NDArray[np.int32]
) -> tuple[Views, NDArray[np.int64]]:
    """Who of those that push themselves did so least often before, and the strangers; counts pushes in place."""
    n, limit = len(overlay.views), overlay.settings.pushes
    senders, columns = np.nonzero((asked >= 0) & overlay.honest[asked])
    by = np.concatenate([senders, hostile_pushes[:, 0]]).astype(np.int32)
    to = np.concatenate([asked[senders, columns], hostile_pushes[:, 1]]).astype(np.int64)
    where = places(by, counting_keys(overlay.keys)[to], overlay.settings.counters)
    counts = overlay.visits[to, where]
    _, strangers = tallied(overlay.visits, to, where)
    unknown = (by != to) & ~(overlay.views[to] == by[:, None]).any(axis=1)
    by, to, counts = by[unknown], to[unknown], counts[unknown]
    order = np.lexsort((ranks(by, salted_keys(overlay.period[to], PUSHED)), counts, to))
    by, to = by[order], to[order]
    distinct = np.ones(len(by), dtype=np.bool_)
    distinct[1:] = (by[1:] != by[:-1]) | (to[1:] != to[:-1])
    by, to = by[distinct], to[distinct]
    starts = np.searchsorted(to, np.arange(n))
    positions = np.arange(len(to)) - starts[to]
    pushed = nobody(n, limit)
    within = positions < limit
    pushed[to[within], positions[within]] = by[within]
    return pushed, strangers


def _heard(overlay: BrahmsOverlay, asked: Views, lies: NDArray[np.int32] | None) -> NDArray[np.int32]:
    """What those asked tell: the lowest in rank of their views and samples, but for the asker."""
    settings, n = overlay.settings, len(overlay.views)
    known = np.concatenate([overlay.views, overlay.samples], axis=1)
    told = in_order(known, overlay.period, TOLD, width=settings.told + 1)
    heard = nobody(n, settings.requests, settings.told)
    rows, columns = np.nonzero((asked >= 0) & overlay.alive[asked])
    whom = asked[rows, columns]
    replies = told[whom]
    replies = packed(replies, (replies >= 0) & (replies != rows[:, None]), settings.told)
    if lies is not None:
        replies = np.where(overlay.hostile[whom][:, None], lies[rows, columns], replies)
    heard[rows, columns] = replies
    return heard
