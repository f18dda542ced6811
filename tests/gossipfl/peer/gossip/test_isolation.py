"""Warnings to a peer that learns alone although it was told of others: not at once, and ever less often."""

import logging

import pytest
import trio
from trio.testing import MockClock

from gossipfl.errors import NotAdmitted
from gossipfl.network import Knocks
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.gossip.isolation import warn_of_isolation

ADDRESS = "/ip4/127.0.0.1/tcp/4001/p2p/12D3"


def warned_at(caplog, *, connected, bootstrap=(ADDRESS,), seconds=100.0, conditions=None, knocks=None):
    """Run the watch on a clock that jumps; return when it warned, in seconds."""
    conditions = conditions or Conditions()

    async def main():
        with trio.move_on_after(seconds):
            await warn_of_isolation(connected, bootstrap, conditions, knocks or Knocks())

    with caplog.at_level(logging.INFO):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    return [
        int(each.args[0]) for each in caplog.records if "no other has been reachable" in each.getMessage()
    ]


def test_each_warning_comes_after_twice_as_long(caplog):
    conditions = Conditions()
    assert warned_at(caplog, connected=frozenset, conditions=conditions) == [10, 20, 40, 80]
    assert [each["name"] for each in conditions.to_values()] == ["alone"]
    assert ADDRESS in caplog.text
    assert "gossipfl peer status" in caplog.text


def test_who_was_turned_away_is_told_so_and_not_that_nobody_is_there(caplog):
    knocks, conditions = Knocks(), Conditions()
    knocks.note("P1", "192.0.2.7", NotAdmitted("not a member"))
    assert warned_at(caplog, connected=frozenset, conditions=conditions, knocks=knocks) == []
    assert "it reached P1, but is not a member" in caplog.text and "network join" in caplog.text
    assert "not a member" in conditions.to_values()[0]["text"]


@pytest.mark.parametrize(("connected", "bootstrap"), [(["P1"], (ADDRESS,)), ([], ())])
def test_who_has_company_or_waits_for_it_is_not_warned(caplog, connected, bootstrap):
    assert warned_at(caplog, connected=lambda: connected, bootstrap=bootstrap) == []
    assert not caplog.records


def test_after_company_the_count_begins_anew(caplog):
    def connected():
        return ["P1"] if 25 < trio.current_time() % 1000 < 30 else []

    conditions = Conditions()
    assert warned_at(caplog, connected=connected, seconds=29, conditions=conditions) == [10, 20]
    assert conditions.to_values() == []
    caplog.clear()
    assert warned_at(caplog, connected=connected, seconds=45) == [10, 20, 10]
    assert caplog.text.count("other peers are reachable again") == 1
