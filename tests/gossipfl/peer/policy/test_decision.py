"""The decision: limits, margins, what cannot be read, and that it does not flap."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.peer.policy.decision import Finding, Reading, conditions_of, decided, judged
from gossipfl.settings import PolicySettings

NOON = datetime(2026, 11, 26, 12, 0)


def reading(value, text="a reading"):
    return Reading(value=value, text=text)


def holds(settings, name, value, *, trains=True):
    [finding] = judged(PolicySettings(**settings), {name: reading(value)}, NOON, trains=trains)
    assert finding.name == name
    return finding.holds


@pytest.mark.parametrize(
    ("name", "limit", "inside", "near", "outside"),
    [
        ("other_cpu", 0.4, 0.37, 0.39, 0.41),
        ("temperature", 80.0, 75.0, 79.0, 81.0),
        ("memory_pressure", 0.2, 0.1, 0.195, 0.21),
        ("battery", 0.4, 0.43, 0.41, 0.39),
    ],
)
def test_limits_are_stricter_for_a_peer_that_waits(name, limit, inside, near, outside):
    settings = {name: limit}
    assert [holds(settings, name, value) for value in (inside, near, outside)] == [True, True, False]
    waits = [holds(settings, name, value, trains=False) for value in (inside, near, outside)]
    assert waits == [True, False, False]


def test_a_full_battery_meets_any_demand():
    assert holds({"battery": 1.0}, "battery", 1.0, trains=False)


def test_yes_and_no():
    for wanted, name in (({"charging": True}, "charging"), ({"unmetered": True}, "unmetered")):
        assert holds(wanted, name, 1.0)
        assert not holds(wanted, name, 0.0)
    assert [holds({"script": "x"}, "script", value) for value in (1.0, 0.0)] == [True, False]
    assert holds({"hours": ["11:00-13:00"]}, "hours", None)
    assert not holds({"hours": ["12:01-13:00", "Fri 11:00-13:00"]}, "hours", None)


def test_what_cannot_be_read_waits_unless_asked_otherwise():
    for kept, held in (("wait", False), ("train", True)):
        settings = PolicySettings(temperature=80, charging=True, unreadable=kept)
        found = judged(settings, {"temperature": reading(None, "no sensor")}, NOON, trains=True)
        assert [each.holds for each in found] == [held, held]
        assert [each.text for each in found] == [
            "temperature cannot be read: no sensor",
            "charging cannot be read: it has not been read yet",
        ]


def test_only_conditions_that_are_set_are_judged():
    assert conditions_of(PolicySettings(timezone="UTC", dwell=3)) == ()
    every = PolicySettings(
        other_cpu=0.1, battery=0.0, charging=True, unmetered=True, hours=["1:00-2:00"], temperature=60,
        memory_pressure=0.1, script="x",
    )  # fmt: skip
    assert len(conditions_of(every)) == 8


def finding(holds):
    return Finding(name="other_cpu", holds=holds, is_read=True, value=0.0, text="")


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 8))
def test_training_goes_on_only_after_the_dwell_and_stops_at_once(held, dwell):
    """Against the definition, looked up in the whole past."""
    decision, trained = None, False
    for now, each in enumerate(held):
        decision = decided(decision, [finding(each)], now=float(now), dwell=float(dwell))
        never_failed = all(held[: now + 1])
        held_long = now - dwell >= 0 and all(held[now - dwell : now + 1])
        assert decision.trains == (each and (never_failed or trained or held_long))
        trained = decision.trains


def test_the_first_decision_waits_for_nothing():
    assert decided(None, [finding(True)], now=0.0, dwell=60.0).trains
    assert decided(None, [], now=0.0, dwell=60.0).trains
    assert not decided(None, [finding(False)], now=0.0, dwell=0.0).trains


def test_since_is_the_time_of_the_last_change():
    decision = None
    for now, (each, since) in enumerate([(True, 0), (True, 0), (False, 2), (True, 2), (True, 2), (True, 5)]):
        decision = decided(decision, [finding(each)], now=float(now), dwell=2.0)
        assert decision.since == since
