"""Knocks: refusals that the operator sees, whatever strangers do."""

import logging

import pytest

from gossipfl.errors import CertificateMissing, IncompatibleCharter, NotAdmitted
from gossipfl.network.knocks import Knocks

HONEST = "12D3KooWHonest"


@pytest.mark.parametrize("error", [CertificateMissing("no certificate"), NotAdmitted("not a member")])
def test_a_stranger_with_ever_new_identities_does_not_hide_others(error, caplog):
    knocks = Knocks()
    knocks.note(HONEST, "192.0.2.7", IncompatibleCharter("training.local_steps differs"))
    for number in range(1_000):
        knocks.note(f"stranger {number}", f"203.0.113.{number % 256}", error)
    knocks.note("late", "198.51.100.3", CertificateMissing("no certificate"))
    assert knocks.reasons.count("incompatible_charter") == 1
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        sum("203.0.113" in record.getMessage() or "stranger" in record.getMessage() for record in lines) <= 4
    )
    shown = [each["peer"] for kind in knocks.described().values() for each in kind]
    assert HONEST in shown
    assert "late" in shown
    assert any("late" in record.getMessage() for record in lines)
    assert len(knocks.reasons) + len(knocks.turned_away_by) <= 64


def test_of_one_network_the_newest_are_kept_and_each_is_counted():
    knocks = Knocks()
    for number in [*range(40), 39]:
        knocks.note(f"stranger {number}", "203.0.113.9", CertificateMissing("no certificate"))
    shown = knocks.described()["turned_away"]
    assert [(each["peer"], each["times"]) for each in shown][:2] == [("stranger 39", 2), ("stranger 38", 1)]
    knocks.let_in("stranger 39")
    assert knocks.described()["turned_away"][0]["peer"] == "stranger 38"
