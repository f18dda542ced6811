"""Nights of charging phones in their time zones, as sessions of presence drawn before a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims.compiler.timeline.arithmetic import normal_quantile
from sims.compiler.timeline.draws import CHARGING, lognormal, uniform
from sims.compiler.timeline.traces import TICKS_PER_SECOND
from sims.scenario.network import ChargingChurn

__all__ = ["Phones", "charging_sessions", "phones_of"]

_HOUR = 3600.0
_DAY = 24 * _HOUR
_ZONE, _METERED, _FIRST_NIGHT, _DUTY = -1, -2, 0, -3


class Phones(NamedTuple):
    """What is fixed about each phone."""

    zone: NDArray[np.int64]
    """Its time zone, a place in the list of the scenario, int64 ``[N]``."""
    metered: NDArray[np.bool_]
    """Whether its link is metered, bool ``[N]``."""


def phones_of(process: ChargingChurn, *, seed: int, numbers: NDArray[np.int64]) -> Phones:
    """Draw each phone's time zone and link.

    Parameters
    ----------
    process : ChargingChurn
    seed : int
        Of the scenario.
    numbers : ndarray
        The number by which each phone is drawn, int64 ``[N]``.
    """
    zones, metered = _fixed(seed, numbers, len(process.zones), process.metered)
    return Phones(zone=zones, metered=metered)


def charging_sessions(
    process: ChargingChurn, *, seed: int, numbers: NDArray[np.int64], until: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw the sessions in which phones take part: while they charge, or for a part of that.

    Parameters
    ----------
    process : ChargingChurn
    seed : int
    numbers : ndarray
        As in `phones_of`.
    until : float
        Seconds of the run; later sessions are left out.

    Returns
    -------
    node, start, end : ndarray
        Of each session, int64, in ticks; those of one node follow one another and do not touch.
    """
    phones = phones_of(process, seed=seed, numbers=numbers)
    nights = int(until // _DAY) + 3
    node, start, end = _sessions(
        seed,
        numbers,
        np.array(process.zones, dtype=np.float64)[phones.zone],
        np.where(phones.metered, process.metered_time, 1.0),
        nights,
        process.plugged * _HOUR,
        process.plugged_spread * _HOUR,
        process.hours * _HOUR,
        process.hours_spread,
        process.nights,
        process.duty,
        process.off_duty * _HOUR,
    )
    ticks = np.floor(np.stack([start, end]) * TICKS_PER_SECOND + 0.5).astype(np.int64)
    last = round(until * TICKS_PER_SECOND)
    kept = (ticks[1] > ticks[0]) & (ticks[0] <= last)
    return node[kept], ticks[0][kept], ticks[1][kept]


@njit(cache=True)
def _fixed(
    seed: int, numbers: NDArray[np.int64], zones: int, metered: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    zone, is_metered = np.empty(len(numbers), dtype=np.int64), np.empty(len(numbers), dtype=np.bool_)
    for place in range(len(numbers)):
        zone[place] = int(uniform(seed, CHARGING, numbers[place], _ZONE) * zones)
        is_metered[place] = uniform(seed, CHARGING, numbers[place], _METERED) < metered
    return zone, is_metered


@njit(cache=True)
def _sessions(
    seed: int,
    numbers: NDArray[np.int64],
    zone_hours: NDArray[np.float64],
    share: NDArray[np.float64],
    nights: int,
    plugged: float,
    plugged_spread: float,
    length: float,
    length_spread: float,
    used: float,
    duty: float,
    off_duty: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    most = len(numbers) * nights
    node, start, end = np.empty(most, dtype=np.int64), np.empty(most), np.empty(most)
    found = 0
    for place in range(len(numbers)):
        free = 0.0
        for night in range(nights):
            draw = _FIRST_NIGHT + 3 * night
            if uniform(seed, CHARGING, numbers[place], draw) >= used:
                continue
            late = plugged_spread * normal_quantile(uniform(seed, CHARGING, numbers[place], draw + 1))
            hours = lognormal(uniform(seed, CHARGING, numbers[place], draw + 2), length, length_spread)
            # Nights are counted from the one before the start: it is under way somewhere.
            begins = (night - 1) * _DAY + plugged + late - zone_hours[place] * _HOUR
            ends = begins + min(hours, 0.9 * _DAY) * share[place]
            if duty < 1.0 and uniform(seed, CHARGING, numbers[place], _DUTY - night) >= duty:
                ends = min(ends, begins + off_duty)
            begins = max(begins, free)
            if ends <= begins:
                continue
            node[found], start[found], end[found] = place, begins, ends
            free = ends + 1.0
            found += 1
    return node[:found], start[:found], end[:found]
