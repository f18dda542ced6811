"""Nights of charging phones, by properties of the draws that can be checked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sims.compiler.timeline.charging import charging_sessions, phones_of
from sims.errors import InvalidScenario
from sims.scenario import load_scenario
from sims.scenario.network import ChargingChurn

DAY, HOUR, TICKS = 86_400, 3_600, 1_000_000_000
EXACT = {"kind": "charging", "plugged_spread": 0.0, "hours": 8.0, "hours_spread": 0.0, "nights": 1.0}


def sessions(**changes: object) -> list[tuple[int, float, float]]:
    process = ChargingChurn.model_validate({**EXACT, **changes})
    numbers = np.arange(400)
    node, start, end = charging_sessions(process, seed=3, numbers=numbers, until=3.0 * DAY)
    return [(int(i), a / TICKS / HOUR, b / TICKS / HOUR) for i, a, b in zip(node, start, end, strict=True)]


def test_nights_are_where_the_phones_are() -> None:
    # At UTC, 23:00 to 7:00; the night before the start is under way until 7:00.
    assert [own[1:] for own in sessions() if own[0] == 0] == [
        (0.0, 7.0),
        (23.0, 31.0),
        (47.0, 55.0),
        (71.0, 79.0),
    ]
    # Ten hours ahead, 23:00 is 13:00 UTC.
    ahead = [own[1:] for own in sessions(zones=[10.0]) if own[0] == 0]
    assert ahead == [(13.0, 21.0), (37.0, 45.0), (61.0, 69.0)]
    behind = [own[1:] for own in sessions(zones=[-5.0]) if own[0] == 0]
    assert behind == [(4.0, 12.0), (28.0, 36.0), (52.0, 60.0)]


def test_phones_on_metered_links_leave_early() -> None:
    process = ChargingChurn.model_validate({**EXACT, "metered": 0.5, "metered_time": 0.25})
    metered = phones_of(process, seed=3, numbers=np.arange(400)).metered
    assert 0.4 < metered.mean() < 0.6
    for node, start, end in sessions(metered=0.5, metered_time=0.25):
        if start > 0:
            assert end - start == pytest.approx(2.0 if metered[node] else 8.0)
    assert {node for node, _, _ in sessions(metered=0.5, metered_time=0.0)} == set(np.flatnonzero(~metered))


def test_sessions_of_one_phone_never_overlap_and_some_nights_are_left_out() -> None:
    found = sessions(plugged_spread=6.0, hours=12.0, hours_spread=2.0, nights=0.6, zones=[-14.0, 14.0])
    for one in range(400):
        own = [(start, end) for node, start, end in found if node == one]
        assert all(start < end for start, end in own)
        assert all(end < start for (_, end), (start, _) in pairwise(own))
    assert 400 * 1.2 < len(found) < 400 * 3


def test_each_phone_is_drawn_by_its_number() -> None:
    process = ChargingChurn(kind="charging", zones=(-8.0, 0.0, 8.0))
    everyone = charging_sessions(process, seed=3, numbers=np.arange(50), until=2.0 * DAY)
    one = charging_sessions(process, seed=3, numbers=np.array([7]), until=2.0 * DAY)
    chosen = everyone[0] == 7
    assert [a.tolist() for a in one[1:]] == [a[chosen].tolist() for a in everyone[1:]]
    zones = phones_of(process, seed=3, numbers=np.arange(3000)).zone
    assert np.allclose(np.bincount(zones) / 3000, 1 / 3, atol=0.05)


def test_impossible_zones_are_named() -> None:
    with pytest.raises(InvalidScenario, match="zones"):
        load_scenario("phones-keyboard", overrides=["churn.process.zones=[20]"])


def test_few_are_on_duty_and_others_come_for_a_while() -> None:
    nights = [(node, end - start) for node, start, end in sessions(duty=0.25, off_duty=0.5) if start > 0]
    assert {round(hours, 6) for _, hours in nights} == {8.0, 0.5}
    on_duty = [node for node, hours in nights if hours > 1]
    assert 0.2 < len(on_duty) / len(nights) < 0.3
    assert len(set(on_duty)) > 150  # others each night
    alone = sessions(duty=0.25)
    assert all(end - start > 1 for _, start, end in alone if start > 0)
    whole = {(node, start) for node, start, _ in sessions()}
    assert {(node, start) for node, start, _ in sessions(duty=0.25, off_duty=0.5)} <= whole


def test_a_phone_off_duty_leaves_no_later_than_its_link_allows() -> None:
    short = [
        end - start for _, start, end in sessions(duty=0.01, off_duty=3.0, metered=1.0, metered_time=0.25)
    ]
    assert max(short) == pytest.approx(2.0)
