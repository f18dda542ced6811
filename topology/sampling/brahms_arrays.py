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
from topology.sampling.brahms import CHECKED, HEARD, KEPT, PARTNERS, PUSHED, RECALLED, TOLD
from topology.sampling.packed import EMPTY, Flags, Views, are_among, first_of_each, nobody, packed
from topology.sampling.ranks import Keys, keys_of, ranks, salted
from topology.sampling.settings import BrahmsSettings

__all__ = ["BrahmsOverlay", "BrahmsPeriodDraws", "brahms_overlay", "brahms_period", "draw_brahms_period"]

_LAST = np.uint64(2**64 - 1)
_BLOCK = 2048


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
    heard : int32 [n, partners, told]
        Names heard in the last period.
    proved : int32 [n, probes]
        Who answered for the first time.
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
    lies : int32 [n, partners, told]
        What the partner would tell, were it hostile.
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
        If `n` is not above the view size, or `hostile` is no share.
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
        heard=nobody(n, settings.partners, settings.told),
        proved=nobody(n, settings.probes),
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
    requests = settings.partners + settings.probes + 1
    by = np.repeat(liars, round(multiple * requests))
    to = generator.choice(np.flatnonzero(overlay.honest), size=len(by))
    lies = generator.choice(liars, size=(n, settings.partners, settings.told))
    return BrahmsPeriodDraws(
        ticks=ticks, pushes=np.stack([by, to], axis=1).astype(np.int32), lies=lies.astype(np.int32)
    )


def brahms_period(overlay: BrahmsOverlay, draws: BrahmsPeriodDraws) -> BrahmsOverlay:
    """Return the network one period later."""
    rows, n, settings = np.flatnonzero(overlay.honest), len(overlay.views), overlay.settings
    period, views, samples = overlay.period.copy(), overlay.views.copy(), overlay.samples.copy()
    partners, names, checked = nobody(n, settings.partners), nobody(n, settings.probes), nobody(n, 1)
    ticked: tuple[NDArray[Any], ...] = (period, views, samples, partners, names, checked)
    for block in np.array_split(rows, max(len(rows) // _BLOCK, 1)):
        for array, found in zip(ticked, _tick(overlay, block, keys_of(draws.ticks[block])), strict=True):
            array[block] = found
    asked = np.concatenate([partners, names, checked], axis=1)
    gone = np.where((asked >= 0) & ~overlay.alive[asked], asked, EMPTY)
    affected = np.flatnonzero((gone >= 0).any(axis=1))
    if len(affected):
        dead = gone[affected]
        views[affected] = packed(
            views[affected], (views[affected] >= 0) & ~are_among(views[affected], dead), views.shape[1]
        )
        samples[affected] = np.where(are_among(samples[affected], dead), EMPTY, samples[affected])
    later = replace(overlay, periods=overlay.periods + 1, period=period, views=views, samples=samples)
    return replace(
        later,
        pushed=_pushed(later, asked, draws.pushes),
        heard=_heard(later, partners, draws.lies),
        proved=packed(names, (names >= 0) & overlay.alive[names], names.shape[1]),
    )


def _ordered(values: Views, period: Keys, salt: int, *, width: int) -> Views:
    """Distinct entries of each row in the order of their ranks."""
    keys = np.where(first_of_each(values), ranks(values, _salted(period, salt)[:, None]), _LAST)
    order = np.argsort(keys, axis=1, kind="stable")
    ordered, known = (
        np.take_along_axis(values, order, axis=1),
        np.take_along_axis(keys, order, axis=1) < _LAST,
    )
    return packed(ordered, known, width)


def _salted(period: Keys, salt: int) -> Keys:
    return period + np.uint64(salted(0, salt))


def _tick(overlay: BrahmsOverlay, block: NDArray[np.int64], period: Keys) -> tuple[NDArray[np.generic], ...]:
    settings, old = overlay.settings, overlay.period[block]
    view_size = settings.view_size
    pushed, proved = overlay.pushed[block], overlay.proved[block]
    held = overlay.samples[block]
    recalled = _ordered(held, old, RECALLED, width=max(settings.history, 1))[:, : settings.history]
    kept = _ordered(overlay.views[block], old, KEPT, width=view_size)
    if overlay.periods % settings.renewal == 0:
        pool = np.concatenate([pushed, proved[:, : settings.pulls], recalled, kept], axis=1)
    else:
        pool = np.concatenate([kept, pushed, proved], axis=1)
    view = packed(pool, first_of_each(pool), view_size)
    shown = np.concatenate([pushed, proved, view], axis=1)
    samples = _shown(held, shown, overlay.keys[block])
    partners = _ordered(view, period, PARTNERS, width=settings.partners)
    names = _names_to_ask(overlay, block, period, view, samples)
    others = np.where(are_among(samples, partners), EMPTY, samples)
    checked = _ordered(others, period, CHECKED, width=1)
    return period, view, samples, partners, names, checked


def _ranked(values: Views, keys: Keys) -> Keys:
    """Ranks of entries in each sampler: uint64 [rows, samples, values]."""
    result: Keys = np.where(values[:, None, :] >= 0, ranks(values[:, None, :], keys[:, :, None]), _LAST)
    return result


def _shown(held: Views, shown: Views, keys: Keys) -> Views:
    rows = np.arange(len(held))[:, None]
    ranked = _ranked(shown, keys)
    best = np.argmin(ranked, axis=2)
    lowest = np.take_along_axis(ranked, best[:, :, None], axis=2)[:, :, 0]
    return np.where(lowest < _held_ranks(held, keys), shown[rows, best], held).astype(np.int32)


def _held_ranks(held: Views, keys: Keys) -> Keys:
    result: Keys = np.where(held >= 0, ranks(held, keys), _LAST)
    return result


def _names_to_ask(
    overlay: BrahmsOverlay, block: NDArray[np.int64], period: Keys, view: Views, samples: Views
) -> Views:
    """The names that samplers want first; then fairly by teller, at random."""
    heard = overlay.heard[block]
    count, tellers, told = heard.shape
    rows = np.arange(count)[:, None]
    flat = heard.reshape(count, tellers * told)
    known = (flat == block[:, None]) | are_among(flat, view) | are_among(flat, samples)
    each = np.where(known, EMPTY, flat).reshape(count * tellers, told)
    ordered = _ordered(each, np.repeat(period, tellers), HEARD, width=told).reshape(count, tellers * told)
    turns = np.broadcast_to(np.tile(np.arange(told), tellers), ordered.shape)
    keys = np.where(ordered >= 0, ranks(ordered, _salted(period, HEARD)[:, None]), _LAST)
    order = np.lexsort((turns, keys), axis=1)
    ordered, turns = ordered[rows, order], turns[rows, order]
    distinct = ordered >= 0
    distinct[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    places = np.cumsum(distinct, axis=1) - 1
    block_keys = overlay.keys[block]
    wanted = (_ranked(ordered, block_keys) < _held_ranks(samples, block_keys)[:, :, None]).any(axis=1)
    width = ordered.shape[1]
    precedence = np.where(distinct, ((~wanted) * told + turns) * width + places, 2 * told * width)
    first = np.argsort(precedence, axis=1, kind="stable")[:, : overlay.settings.probes]
    chosen = np.where(distinct[rows, first], ordered[rows, first], EMPTY).astype(np.int32)
    return packed(chosen, chosen >= 0, overlay.settings.probes)


def _pushed(overlay: BrahmsOverlay, asked: Views, hostile_pushes: NDArray[np.int32]) -> Views:
    """Of all that push themselves to a peer that does not know them, the lowest in rank."""
    n, limit = len(overlay.views), overlay.settings.pushes
    senders, columns = np.nonzero((asked >= 0) & overlay.honest[asked])
    by = np.concatenate([senders, hostile_pushes[:, 0]]).astype(np.int32)
    to = np.concatenate([asked[senders, columns], hostile_pushes[:, 1]]).astype(np.int64)
    fresh = (by != to) & ~(overlay.views[to] == by[:, None]).any(axis=1)
    by, to = by[fresh], to[fresh]
    order = np.lexsort((ranks(by, _salted(overlay.period[to], PUSHED)), to))
    by, to = by[order], to[order]
    distinct = np.ones(len(by), dtype=np.bool_)
    distinct[1:] = (by[1:] != by[:-1]) | (to[1:] != to[:-1])
    by, to = by[distinct], to[distinct]
    starts = np.searchsorted(to, np.arange(n))
    places = np.arange(len(to)) - starts[to]
    pushed = nobody(n, limit)
    within = places < limit
    pushed[to[within], places[within]] = by[within]
    return pushed


def _heard(overlay: BrahmsOverlay, partners: Views, lies: NDArray[np.int32] | None) -> NDArray[np.int32]:
    """What partners tell: the lowest in rank of their views, but for the asker."""
    settings, n = overlay.settings, len(overlay.views)
    told = _ordered(overlay.views, overlay.period, TOLD, width=settings.view_size)
    heard = nobody(n, settings.partners, settings.told)
    rows, columns = np.nonzero((partners >= 0) & overlay.alive[partners])
    whom = partners[rows, columns]
    replies = told[whom]
    replies = packed(replies, (replies >= 0) & (replies != rows[:, None]), settings.told)
    if lies is not None:
        replies = np.where(overlay.hostile[whom][:, None], lies[rows, columns], replies)
    heard[rows, columns] = replies
    return heard
