"""Rows that take long on a link: one at a time, and each in one direction only."""

from contextlib import ExitStack

import pytest

from gossipfl.network.caps import Cap
from gossipfl.network.lane import Lane
from gossipfl.network.link import Link

CARRIES = 100_000  # bytes a second
LONG = 60 * CARRIES
SHORT = 20 * CARRIES


def under_way(stack, lane, size, *, left=None, is_valued=True):
    """Have a row under way for ever, of which so many bytes are left."""
    transfer = stack.enter_context(lane.expecting(size, is_valued=is_valued))
    transfer.moved = lambda: size - (size if left is None else left)


def watched(lane, *paces, seconds=12.0):
    """Have as many rows under way as there are paces in bytes a second, and look at them."""
    moved = [0] * len(paces)
    with ExitStack() as stack:
        for number in range(len(paces)):
            transfer = stack.enter_context(lane.expecting(LONG, is_valued=True))
            transfer.moved = lambda number=number: moved[number]
        for look in range(int(4 * seconds)):
            for number, pace in enumerate(paces):
                moved[number] += pace // 4
                lane.moved += pace // 4
            lane.look(look / 4)
    lane.look(seconds)  # when nothing is under way


@pytest.fixture
def lane():
    made = Lane()
    watched(made, CARRIES // 2, CARRIES // 2)
    made._throughput.note(CARRIES, 1.0)
    return made


def test_of_rows_that_take_long_one_is_under_way_at_a_time(lane):
    with ExitStack() as stack:
        assert lane.seconds_until_free(LONG, is_valued=True) == 0
        under_way(stack, lane, LONG, left=LONG // 2)
        assert lane.seconds_until_free(LONG, is_valued=True) == pytest.approx(
            27.0
        )  # a twentieth before its end
        assert lane.seconds_until_free(SHORT, is_valued=True) == 0
        under_way(stack, lane, SHORT)
        assert lane.seconds_until_free(SHORT, is_valued=True) == 0
        under_way(stack, lane, SHORT)
        assert lane.seconds_until_free(SHORT, is_valued=True) > 0  # and of all, three
    with ExitStack() as stack:
        under_way(stack, lane, SHORT)
        assert lane.seconds_until_free(LONG, is_valued=True) == 0
    with ExitStack() as stack:
        under_way(stack, lane, LONG, left=2 * CARRIES)
        assert lane.seconds_until_free(LONG, is_valued=True) == 0


def test_a_long_row_of_a_stranger_keeps_nobody_of_standing_waiting(lane):
    with ExitStack() as stack:
        under_way(stack, lane, LONG, is_valued=False)
        assert lane.seconds_until_free(LONG, is_valued=True) == 0
        assert lane.seconds_until_free(LONG, is_valued=False) > 50


def test_what_a_single_row_shows_is_not_taken_for_what_the_link_carries():
    """Its other end may be slow: all others would wait for as long as the row of a slow neighbour takes."""
    lane = Lane()
    watched(lane, CARRIES)
    lane._throughput.note(CARRIES, 1.0)
    assert not lane.is_long(100 * LONG)
    with ExitStack() as stack:
        under_way(stack, lane, LONG)
        assert lane.seconds_until_free(LONG, is_valued=True) == 0
    watched(lane, CARRIES, 0)  # the second does not move
    assert not lane.is_long(100 * LONG)
    watched(lane, CARRIES, 99 * CARRIES)
    assert not lane.is_long(LONG)
    assert lane.is_long(100 * LONG)


def test_bytes_that_had_piled_up_are_not_taken_for_what_the_link_carries(lane):
    """On a busy machine a process that was at a standstill reads four seconds' worth at once."""
    moved = [0, 0]
    with ExitStack() as stack:
        for number in range(2):
            transfer = stack.enter_context(lane.expecting(LONG, is_valued=True))
            transfer.moved = lambda number=number: moved[number]
        for look in range(48):
            is_still = 30 <= look < 44
            for number in range(2):
                moved[number] += 0 if is_still else CARRIES // 8 * (15 if look == 44 else 1)
            lane.moved = sum(moved)
            lane.look(look / 4)
        assert lane.is_long(LONG)


def test_a_link_that_has_become_faster_is_noticed_when_one_row_follows_another(lane):
    assert lane.is_long(LONG)
    watched(lane, CARRIES, 3 * CARRIES)
    assert not lane.is_long(LONG)


def test_a_cap_is_what_a_link_carries(lane):
    watched(lane, 50 * CARRIES, 50 * CARRIES)
    assert not lane.is_long(LONG)
    lane.cap = Cap(CARRIES, now=0.0)
    assert lane.is_long(LONG)


@pytest.fixture
def link():
    made = Link()
    for each in (made.upload, made.download):
        watched(each, CARRIES // 2, CARRIES // 2)
        each._throughput.note(CARRIES, 1.0)
    return made


def test_each_of_two_long_rows_is_for_an_exchange_of_its_own(link):
    with ExitStack() as stack:
        assert link.free_directions(LONG, LONG) == (True, True)
        assert not link.go_together(LONG, LONG)
        under_way(stack, link.upload, LONG)
        assert link.free_directions(LONG, LONG) == (False, True)
        under_way(stack, link.download, LONG)
        assert link.free_directions(LONG, LONG) == (False, False)


def test_a_long_answer_goes_only_where_it_may_begin_at_once(link):
    with ExitStack() as stack:
        assert link.may_answer(LONG)
        under_way(stack, link.upload, LONG)
        assert not link.may_answer(LONG)
        assert link.may_answer(SHORT)
