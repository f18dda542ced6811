"""Warnings to a peer that learns alone although it was told of others: not at once, and ever less often."""

import logging

import pytest
import trio
from trio.testing import MockClock

from gossipfl.peer.conditions import Conditions
from gossipfl.peer.gossip.isolation import warn_of_isolation

ADDRESS = "/ip4/127.0.0.1/tcp/4001/p2p/12D3"


def warned_at(caplog, *, connected, bootstrap=(ADDRESS,), seconds=100.0, conditions=None, reasons=()):
    """Run the watch on a clock that jumps; return when it warned, in seconds."""
    conditions = conditions or Conditions()

    async def main():
        with trio.move_on_after(seconds):
            await warn_of_isolation(connected, bootstrap, conditions, lambda: reasons)

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


def test_known_reasons_are_given_and_not_that_nobody_is_there(caplog):
    conditions, reasons = Conditions(), ["refused by P1: compare the secret"]
    assert warned_at(caplog, connected=frozenset, conditions=conditions, reasons=reasons) == []
    assert caplog.text.count("this peer learns alone: refused by P1: compare the secret") == 4
    assert conditions.to_values()[0]["text"] == "this peer learns alone: refused by P1: compare the secret"


def test_whose_others_have_left_is_warned_even_if_it_knew_none_at_the_start(caplog):
    def connected():
        return ["P1"] if 25 < trio.current_time() % 1000 < 30 else []

    conditions = Conditions()
    assert warned_at(caplog, connected=connected, bootstrap=(), seconds=45, conditions=conditions) == [10]
    assert [each["name"] for each in conditions.to_values()] == ["alone"]
    assert "Start a bootstrap peer" not in caplog.text


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
