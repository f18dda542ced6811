"""Senders that offend: what is forgiven, and how long they are quarantined."""

import pytest

from gossipfl.algorithms.gate.offenders import Offenders
from gossipfl.settings.gate import GateSettings

SETTINGS = GateSettings()


def offend_until_quarantined(offenders, *, now):
    times = 1
    while not offenders.offend("liar", weight=1.0, now=now):
        times += 1
    return times


def test_each_quarantine_is_twice_as_long_as_the_last_up_to_the_longest():
    offenders, now, lengths = Offenders(SETTINGS, size=4), 0.0, []
    for _ in range(12):
        assert offend_until_quarantined(offenders, now=now) == SETTINGS.offences
        length = SETTINGS.quarantine * 2.0 ** len(lengths)
        lengths.append(min(length, SETTINGS.longest_quarantine))
        assert offenders.is_quarantined("liar", now=now + 0.99 * lengths[-1])
        now += 1.01 * lengths[-1]
        assert offenders.quarantined(now=now) == []
    assert lengths[1] == 2 * lengths[0]
    assert lengths[-1] == SETTINGS.longest_quarantine


def test_an_offence_is_forgiven_in_time():
    offenders = Offenders(SETTINGS, size=4)
    for number in range(100):
        assert not offenders.offend("clumsy", weight=1.0, now=number * SETTINGS.forgiveness)


def test_a_doubtful_model_counts_half_of_the_last_one_and_later_as_much_as_the_first():
    offenders = Offenders(SETTINGS, size=4)
    shares = [offenders.doubt("odd", now=0.0) for _ in range(8)]
    assert shares == [1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 64, 1 / 64, 1 / 64]
    assert offenders.doubt("odd", now=100.0) == pytest.approx(1 / 4)


def test_who_was_noted_least_recently_is_forgotten_first():
    offenders = Offenders(SETTINGS, size=2)
    offend_until_quarantined(offenders, now=0.0)
    offenders.doubt("a", now=0.0)
    assert offenders.quarantined(now=0.0) == ["liar"]
    offenders.doubt("b", now=0.0)
    assert offenders.quarantined(now=0.0) == []
