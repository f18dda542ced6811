"""Hours of a week, against a table of all its minutes."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import SettingError
from gossipfl.settings import PolicySettings, parse_settings
from gossipfl.settings.hours import parse_hours

DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONDAY = datetime(2026, 11, 23)


@settings(deadline=None, max_examples=30)
@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, 24 * 60 - 1),
    length=st.integers(1, 24 * 60 - 1),
)
def test_a_range_is_the_minutes_after_its_beginnings(days, begin, length):
    week = 7 * 24 * 60
    included = {(1440 * day + begin + more) % week for day in days for more in range(length)}
    end = (begin + length) % 1440 or 1440
    names = ",".join(DAYS[day] for day in sorted(days))
    text = f"{names} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    hours = parse_hours(text)
    for minute in range(0, week, 11):
        assert hours.include(MONDAY + timedelta(minutes=minute)) == (minute in included)


def test_ranges_of_days_go_over_the_end_of_the_week():
    assert parse_hours("Sat-Mon 08:00-09:00").days == {5, 6, 0}
    assert parse_hours("Mon,Wed-Thu 8:00-9:00").days == {0, 2, 3}
    assert parse_hours("00:00-24:00").include(datetime(2026, 1, 1, 23, 59))


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ("22-6", "'22-6' is no range of hours: expected e.g. '22:00-06:30'"),
        ("Mo 22:00-06:00", "there is no day 'Mo': Did you mean 'Mon'?"),
        ("Monday 22:00-06:00", "there is no day 'Monday': Did you mean 'Mon"),
        ("25:00-06:00", "expected times from 00:00 to 24:00"),
        ("06:00-06:60", "expected times from 00:00 to 24:00"),
        ("06:00-06:00", "write 00:00-24:00 for whole days"),
        ("", "is no range of hours"),
        ("Mon Tue 06:00-07:00", "is no range of hours"),
    ],
)
def test_what_is_no_range_is_named(hours, said):
    with pytest.raises(SettingError) as caught:
        PolicySettings(hours=[hours])
    assert said in str(caught.value)


def test_typos_get_a_suggestion():
    with pytest.raises(SettingError, match="no time zone 'Europe/Pariss': Did you mean 'Europe/Paris'"):
        PolicySettings(timezone="Europe/Pariss")
    for table, said in (
        ({"policy": {"other_cpus": 0.5}}, "unknown key 'other_cpus'. Did you mean 'other_cpu'?"),
        ({"policy": {"merge": "never"}}, "policy.merge: expected 'always' or 'then'; got 'never'"),
        ({"polcy": {}}, "Did you mean 'policy'?"),
        ({"policy": {"battery": 40}}, "policy.battery: expected a number less than or equal to 1; got 40"),
    ):
        with pytest.raises(SettingError) as caught:
            parse_settings(table, source="a test")
        assert said in str(caught.value)


def test_a_time_zone_has_its_own_hours():
    night = parse_hours("22:00-06:00")
    moment = datetime(2026, 11, 26, 21, 30, tzinfo=ZoneInfo("UTC"))
    assert not night.include(moment)
    assert night.include(moment.astimezone(ZoneInfo("Europe/Paris")))
