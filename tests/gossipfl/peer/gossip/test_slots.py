"""Exchanges in one direction of a slow link keep none in the other waiting."""

from collections import Counter

import trio
from trio.testing import MockClock

from gossipfl.peer.gossip.slots import Directions, Slots
from gossipfl.wire import Acknowledgement, Frame
from tests.gossipfl.peer.gossip.test_promptness import Neighbours, gossip_with

SECONDS = 600
PUSH, PULL = "push", "pull"


class SlowLink(Neighbours):
    """In the place of view and host: a link on which rows go alone, and of which one direction is much slower."""

    def __init__(self, seconds, *names):
        super().__init__(**dict.fromkeys(names, 0.0))
        self.lasts, self.ended = seconds, Counter()
        self.under_way, self.most = Counter(), Counter()

    def go_together(self, sent, answered):
        return False

    async def exchange(self, peer_id, addresses, frame, *, seconds, answer_bytes, renew):
        kind = PULL if answer_bytes else PUSH
        self.under_way[kind] += 1
        self.under_way[kind, peer_id] += 1
        self.most |= self.under_way
        await trio.sleep(self.lasts[kind])
        self.under_way[kind] -= 1
        self.under_way[kind, peer_id] -= 1
        self.ended[kind] += 1
        return Acknowledgement(incarnation=1, sequence=1)


def exchanged_over(link, **settings):
    gossip = gossip_with(link)
    gossip.outgoing.latest_bytes, gossip.outgoing.pull = 1, lambda part: Frame(())
    gossip.exchange_settings = gossip.exchange_settings.model_copy(update={"period": 1.0, **settings})

    async def main():
        with trio.move_on_after(SECONDS):
            await gossip.exchange_models()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return link


def test_answers_that_take_minutes_keep_no_row_waiting_that_goes_the_other_way():
    """A peer waited for answers of all four neighbours, and its upload was idle for a tenth of the time."""
    for slow, quick in ((PULL, PUSH), (PUSH, PULL)):
        link = exchanged_over(SlowLink({slow: 200.0, quick: 8.0}, "a", "b", "c", "d"))
        assert (
            link.ended[quick] >= 0.9 * 4 * SECONDS / 9
        )  # a slot is filled again after half a period on average
        assert link.most[slow] == link.most[quick] == 4
        assert max(n for kind, n in link.most.items() if isinstance(kind, tuple)) == 1


def test_with_one_neighbour_a_row_goes_each_way_at_a_time():
    link = exchanged_over(SlowLink({PULL: 50.0, PUSH: 20.0}, "only"))
    assert link.ended[PUSH] >= 0.9 * SECONDS / 21
    assert link.ended[PULL] >= 0.9 * SECONDS / 51


def test_the_slots_of_a_direction_are_as_many_as_settings_say():
    link = exchanged_over(SlowLink({PULL: 50.0, PUSH: 20.0}, "a", "b", "c", "d"), concurrent=2)
    assert link.most[PUSH] == link.most[PULL] == 2


def test_an_exchange_of_rows_in_both_directions_takes_a_slot_in_each():
    slots, both = Slots(), Directions(sends=True, asks=True)
    push, pull = Directions(sends=True, asks=False), Directions(sends=False, asks=True)
    slots.begin("a", both)
    slots.begin("b", pull)
    assert slots.taken(push) == {"a"}
    assert slots.taken(pull) == slots.taken(both) == {"a", "b"}
    slots.end("a", both)
    assert slots.taken(push) == set()
    assert slots.taken(both) == {"b"}
