"""Rows that take long on a link arrive one after another, and each goes in one direction only."""

from contextlib import ExitStack

import pytest
import trio
import trio.testing

from gossipfl.network.lane import Lane
from gossipfl.network.link import Link

CARRIES = 100_000  # bytes a second
LONG = 60 * CARRIES


class Wire:
    """A link that all who move bytes on it share equally, on a clock that jumps."""

    def __init__(self, lane, *, carries=CARRIES):
        self.lane, self.carries, self.users = lane, carries, 0
        self.arrived = {}

    async def carry(self, name, size, *, after=0.0, most=float("inf"), is_valued=True):
        """Carry a row, at no more than `most` bytes a second."""
        await trio.sleep(after)
        moved = [0]

        async def move(at, end):
            self.users += 1
            try:
                while moved[0] < end:
                    pace = min(most, self.carries / self.users)
                    step = min(10_000, end - moved[0])
                    await trio.sleep(step / pace)
                    moved[0] += step
                    self.lane.count(step)
            finally:
                self.users -= 1

        with (
            self.lane.expecting(size, is_valued=is_valued) as transfer,
            self.lane.carrying(transfer, size, lambda: moved[0], path=None) as mover,
        ):
            await mover(size, move)
        self.arrived[name] = trio.current_time()

    async def watch(self):
        while True:
            await trio.sleep(0.25)
            self.lane.look(trio.current_time())


def arrivals(*rows, carries=CARRIES, measured=CARRIES):
    """Return when each of some rows has arrived, in seconds."""
    lane = Lane()
    if measured:
        lane._throughput.note(measured, 1.0)

    async def main():
        wire = Wire(lane, carries=carries)
        began = trio.current_time()
        async with trio.open_nursery() as watching:
            watching.start_soon(wire.watch)
            async with trio.open_nursery() as nursery:
                for number, (size, options) in enumerate(rows):
                    nursery.start_soon(lambda n=number, s=size, o=options: wire.carry(n, s, **o))
            watching.cancel_scope.cancel()
        return [wire.arrived[number] - began for number in range(len(rows))]

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_of_two_long_rows_the_one_with_less_before_it_arrives_first():
    first, second = arrivals((LONG, {}), (LONG, {"after": 10.0}))
    assert first < 72.0  # alone it takes 60 s, and 110 s if the two share the link equally
    assert second == pytest.approx(120.0, abs=4.0)  # the link was in use all the time
    late, soon = arrivals((LONG, {}), (2 * LONG // 3, {"after": 10.0}))
    assert soon < 62.0  # alone it takes 40 s, and 90 s if the two share the link equally
    assert late == pytest.approx(100.0, abs=4.0)


def test_a_long_row_is_given_what_the_one_before_it_leaves():
    first, second = arrivals((LONG, {"most": CARRIES / 2}), (LONG, {"after": 1.0}))
    assert first == pytest.approx(120.0, abs=4.0)
    assert 120.0 < second < 155.0  # at a quarter of the link until then


def test_rows_that_do_not_take_long_share_the_link():
    first, second = arrivals((LONG // 3, {}), (LONG // 3, {}))
    assert first == pytest.approx(40.0, abs=1.0)
    assert second == pytest.approx(40.0, abs=1.0)


def test_a_row_of_a_stranger_lets_those_of_peers_with_standing_pass():
    stranger, valued = arrivals((LONG, {"is_valued": False}), (LONG, {"after": 5.0}))
    assert valued < 82.0
    assert stranger == pytest.approx(120.0, abs=4.0)


def test_a_link_that_has_only_carried_rows_of_slow_peers_shows_what_it_carries():
    """Otherwise the pace of a slow neighbour would be taken for that of the link, and all others held to it."""
    slow, fast = arrivals(
        (LONG, {"most": CARRIES}), (10 * LONG, {"after": 10.0}), carries=100 * CARRIES, measured=CARRIES
    )
    assert slow == pytest.approx(60.0, abs=1.0)
    assert fast < 25.0  # 6 s at the pace of the link


def test_before_the_first_row_has_arrived_the_pace_of_those_under_way_counts():
    first, second = arrivals((LONG, {}), (LONG, {"after": 10.0}), measured=None)
    assert first < 75.0
    assert second == pytest.approx(120.0, abs=4.0)


def under_way(stack, lane, size, times):
    for _ in range(times):
        stack.enter_context(lane.expecting(size, is_valued=True)).begin()


def test_each_of_two_long_rows_is_for_an_exchange_of_its_own():
    link = Link()
    for lane in (link.upload, link.download):
        lane._throughput.note(CARRIES, 1.0)
    with ExitStack() as stack:
        assert link.free_directions(LONG, LONG) == (True, False)
        assert link.free_directions(LONG, 0) == (True, True)  # of a push, nothing is asked for
        assert link.free_directions(LONG, LONG, needs_both=True) == (True, True)
        under_way(stack, link.upload, LONG, 1)
        assert link.free_directions(LONG, LONG) == (False, True)
        under_way(stack, link.download, LONG, 1)
        assert link.free_directions(LONG, LONG) == (True, False)
        under_way(stack, link.upload, LONG, 1)
        assert link.free_directions(LONG, LONG) == (False, True)
        under_way(stack, link.download, LONG, 1)
        assert link.free_directions(LONG, LONG) == (False, False)


def test_a_long_answer_goes_only_where_it_may_begin_at_once():
    link = Link()
    link.upload._throughput.note(CARRIES, 1.0)
    with ExitStack() as stack:
        under_way(stack, link.upload, LONG, 1)
        assert link.may_answer(LONG)
        under_way(stack, link.upload, LONG, 1)
        assert not link.may_answer(LONG)
        assert not link.may_answer(LONG // 2 + 1)
        assert link.upload.seconds_until_free(is_valued=True) == pytest.approx(60.0)
