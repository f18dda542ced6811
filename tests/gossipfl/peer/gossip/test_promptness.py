"""Neighbours that stall do not hold all slots for exchanges, and honest slow ones lose nothing."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from gossipfl.algorithms.gossip.flow import PROACTIVE, Flow
from gossipfl.algorithms.gossip.sharing import WHOLE
from gossipfl.codecs import FLOAT32
from gossipfl.errors import ExchangeTimedOut, PeerUnreachable
from gossipfl.network import RowMemory
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.gossip.accounts import TokenAccounts
from gossipfl.peer.gossip.codec_choice import OneCodec
from gossipfl.peer.gossip.events import Merged
from gossipfl.peer.gossip.exchanges import Gossip
from gossipfl.peer.gossip.own_draws import OwnDraws
from gossipfl.peer.gossip.part_choice import PartChoice
from gossipfl.peer.gossip.promptness import Promptness
from gossipfl.peer.gossip.received import ReceivedModels
from gossipfl.settings import ExchangeSettings
from gossipfl.wire import Acknowledgement, Frame

SECONDS = 600
PROMPT = 0.05
GONE = None


class Neighbours:
    """In the place of view and host: peers that answer models after so many seconds."""

    def __init__(self, **answer_after):
        self.seconds = answer_after
        self.generator = np.random.default_rng(0)
        self.known = [SimpleNamespace(peer_id=each, addresses=()) for each in answer_after]
        self.answered = dict.fromkeys(answer_after, 0)

    def choose(self, *, now, exclude):
        candidates = [each for each in self.known if each.peer_id not in exclude]
        return candidates[self.generator.integers(len(candidates))] if candidates else None

    @property
    def link(self):
        return self

    def free_directions(self, sent, answered, *, needs_both):
        return True, True

    def go_together(self, sent, answered):
        return True

    async def exchange(self, peer_id, addresses, frame, *, seconds, answer_bytes, renew):
        if self.seconds[peer_id] is GONE:
            raise PeerUnreachable("nobody listens there")
        with trio.move_on_after(seconds) as deadline:
            await trio.sleep(self.seconds[peer_id])
        if deadline.cancelled_caught:
            raise ExchangeTimedOut("the exchange did not end in time")
        self.answered[peer_id] += 1
        return Acknowledgement(incarnation=1, sequence=1)

    def succeeded(self, peer_id):
        pass

    def failed(self, peer_id, *, now):
        pass


async def nothing(*_, **__):
    return None


async def framed(*_, **__):
    return Frame(())


def gossip_with(neighbours, *, flow=PROACTIVE):
    learner = SimpleNamespace(
        mailbox_is_full=False,
        distrusts=lambda _: False,
        acted_on_clock=nothing,
        state=None,
        kept_bytes=0,
        trains_on_answers=False,
    )
    return Gossip(
        host=neighbours,
        learner=learner,
        view=neighbours,
        received=ReceivedModels(learner=learner),
        accounts=TokenAccounts(flow, OwnDraws("P", 1), lambda _: None),
        parts=PartChoice(WHOLE, OwnDraws("P", 1)),
        errors=FirstErrors(logging.getLogger("test")),
        outgoing=SimpleNamespace(
            frame=framed,
            codecs=OneCodec(FLOAT32),
            newer_frame=nothing,
            latest_bytes=0,
            versions=SimpleNamespace(choose=lambda *_: SimpleNamespace(age=0)),
        ),
        memory=RowMemory(10**9),
        row_bytes=4,
        later_starts=SimpleNamespace(is_later=lambda *_: False),
        exchange_settings=ExchangeSettings(),
        generator=np.random.default_rng(0),
        record=lambda _: None,
    )


def exchanged(neighbours):
    gossip = gossip_with(neighbours)

    async def main():
        with trio.move_on_after(SECONDS):
            await gossip.exchange_models()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return neighbours.answered


def test_another_takes_the_place_of_a_neighbour_that_is_gone():
    alone = exchanged(Neighbours(here=PROMPT))["here"]
    assert (
        exchanged(Neighbours(here=PROMPT, gone=GONE))["here"] >= 0.8 * alone
    )  # 7 of 8 on average, of three tries


@pytest.mark.parametrize("stall", [1000.0, 19.0])
@pytest.mark.parametrize("stallers", [3, 10])
def test_who_stalls_takes_no_exchange_from_the_prompt(stallers, stall):
    """Ten of 26 neighbours that answer views but no models took half of the exchanges."""
    honest = {f"honest-{number}": PROMPT for number in range(16)}
    liars = {f"liar-{number}": stall for number in range(stallers)}
    answered = exchanged(Neighbours(**honest, **liars))
    assert sum(answered[each] for each in honest) >= 0.9 * SECONDS


def test_one_on_a_slow_line_is_chosen_as_often_as_before():
    seconds = {f"fast-{number}": PROMPT for number in range(9)} | {"slow": 5.0}
    answered = exchanged(Neighbours(**seconds))
    assert sum(answered.values()) >= 0.95 * SECONDS
    assert answered["slow"] >= 0.6 * SECONDS / 15  # it is busy for 5 s of each 15


def test_where_all_are_slow_nobody_is():
    promptness = Promptness(least=1.0)
    assert promptness.slow() == set()
    for number in range(10):
        promptness.note(f"P{number}", 10.0 + number)
    assert promptness.slow() == set()


def test_who_stalled_has_to_be_prompt_several_times():
    promptness = Promptness(least=1.0)
    for number in range(4):
        promptness.note(f"P{number}", 0.1)
    promptness.note("staller", 20.0)
    times = 0
    while "staller" in promptness.slow():
        promptness.note("staller", 0.1)
        times += 1
    assert times == 5


def test_models_that_are_merged_after_the_last_exchange_begin_no_further_one():
    """A peer with a token account that stopped while it merged ended with an error of its nursery."""
    neighbours = Neighbours(here=PROMPT)
    gossip = gossip_with(neighbours, flow=Flow(kind="simple", capacity=3))

    async def main():
        with trio.move_on_after(SECONDS):
            await gossip.exchange_models()
        exchanges = neighbours.answered["here"]
        for event in range(10):  # the account answers one of them at least
            gossip.learner.on_merged([Merged(event=event, part=0, is_useful=True)])
        await trio.sleep(10)
        assert neighbours.answered["here"] == exchanges

    trio.run(main, clock=MockClock(autojump_threshold=0))
