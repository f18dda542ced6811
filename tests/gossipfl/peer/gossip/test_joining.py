"""Joining: a newcomer begins with the best of several models on its own held-out samples."""

import dataclasses
import math
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import torch
import trio
from trio.testing import MockClock

from gossipfl.algorithms import Message
from gossipfl.peer import Peer
from gossipfl.peer.gossip.events import Incoming, State
from gossipfl.peer.gossip.joining import Joining
from gossipfl.peer.store.checkpoint import load_checkpoint, save_checkpoint
from gossipfl.training import Nodes
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running
from tests.integration.tasks import blobs

MUCH = 10**9


class Mailbox:
    """In the place of a learner: full at first."""

    def __init__(self, age=0):
        row = torch.zeros(1, 3)
        self.state = State(nodes=dataclasses.replace(Nodes.start(row), ages=torch.tensor([age])))
        self.taken, self.refusals = [], 2

    def offer(self, incoming):
        self.refusals -= 1
        if self.refusals >= 0:
            return False
        self.taken.append(incoming)
        return True


def model(sender, value, age):
    message = Message(shared=torch.full((1, 2), float(value)), ages=torch.tensor([age]))
    return Incoming(message=message, sender=sender, incarnation=1, sequence=1, event=age, codec="float32")


def joined(
    *models, several=3, most_bytes=MUCH, known=("silent",), age=0, alone=0.0, away=0.0, start_loss=math.inf
):
    """Hold these models back, one a second, and give what was taken, what was recorded, and when it was over."""
    mailbox, recorded, ends = Mailbox(age), [], []
    # The best model is 5; the local part is zero.
    joining = Joining(
        learner=mailbox,
        loss=lambda row: math.inf if row[0, 0].isnan() else abs(float(row[0, 0]) - 5) + float(row[0, 2]),
        start_loss=start_loss,
        several=several,
        most_bytes=most_bytes,
        period=1.0,
        pace=10.0,
        away=away,
        record=recorded.append,
    )
    held = []

    async def main():
        async with trio.open_nursery() as nursery:

            async def choose():
                began = trio.current_time()
                await joining.choose(lambda: known)
                ends.append(trio.current_time() - began)

            nursery.start_soon(choose)
            await trio.sleep(alone)
            for each in models:
                await trio.sleep(1.0)
                held.append(joining.hold(each))

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return mailbox.taken, recorded, held, ends[0]


def test_the_best_of_several_is_taken_and_neither_the_first_nor_the_oldest():
    taken, recorded, held, _ = joined(
        model("a", 1, 10**9), model("b", 4, 500), model("c", 9, 700), model("d", 5, 900)
    )
    assert [(each.sender, each.chosen_age) for each in taken] == [("b", 500)]
    assert recorded == [
        {"kind": "join", "own_loss": 5.0, "losses": {"a": 4.0, "b": 1.0, "c": 4.0}, "chosen": "b"}
    ]
    assert held[:3] == [True] * 3


@pytest.mark.parametrize(
    ("ages", "credited"),
    [
        ((2**39, 500), 500),
        ((2**39, 500, 700), 700),
        ((2**39, 80, 700), 700),
        ((300, 500, 700), 300),
    ],
)
def test_its_age_is_credited_as_far_as_half_of_the_others_support_it(ages, credited):
    """A liar may pass on a good model: with an age of 2³⁹ a newcomer would never learn from anyone again."""
    values = (5, 4, 3)  # the first is the best
    taken, *_ = joined(*map(model, "abc", values, ages), known="abc"[: len(ages)])
    assert [(each.sender, each.chosen_age) for each in taken] == [("a", credited)]


def test_models_of_which_no_three_fit_are_compared_all_the_same():
    arrived = [model("a", 5.2, 300), model("b", 5.1, 200), model("c", 9, 400)]
    outcomes = [joined(*arrived, most_bytes=most)[:2] for most in (MUCH, 20)]
    assert [each.sender for each in outcomes[0][0]] == ["b"]
    assert [each.sender for each in outcomes[1][0]] == ["b"]
    assert outcomes[1][1] == outcomes[0][1]


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize(("age", "away"), [(0, 0.0), (7000, 3600.0)])
def test_of_the_only_peer_that_was_heard_no_more_is_credited_than_the_pace_explains(several, age, away):
    """It would keep an age of 2³⁹ for ever, and an honest one is credited by the gate in time."""
    taken, *_ = joined(model("a", 5, 2**39), known="a", age=age, away=away, several=several)
    [credited] = [each.chosen_age for each in taken]
    assert age + 100 + 10 * away < credited < age + 200 + 10 * away
    taken, *_ = joined(model("a", 5, age + 101), known="a", age=age, away=away, several=several)
    assert [each.chosen_age for each in taken] == [age + 101]


def test_a_model_worse_than_ones_own_is_not_taken():
    taken, [record], _, _ = joined(model("a", -1, 500), model("b", math.nan, 500), model("c", 11, 500))
    assert taken == []
    assert record["chosen"] is None
    assert record["losses"] == {"a": 6.0, "b": None, "c": 6.0}


def test_a_model_that_knows_no_more_than_ones_own_did_at_the_start_is_not_taken():
    """A few steps may have made it worse since, and a stranger's untrained model beside it looks good."""
    taken, *_ = joined(model("liar", 2, 1003), known=("liar",), start_loss=3.0)
    assert taken == []
    taken, *_ = joined(model("liar", 2, 1003), known=("liar",), start_loss=3.4)
    assert [each.sender for each in taken] == ["liar"]


def test_what_arrives_while_it_chooses_is_not_merged_before_the_choice():
    mailbox, held = Mailbox(), []

    def loss(row):
        held.append(joining.hold(model("late", 5, 600)))
        return abs(float(row[0, 0]) - 5)

    joining = Joining(
        learner=mailbox,
        loss=loss,
        start_loss=math.inf,
        several=1,
        most_bytes=MUCH,
        period=1.0,
        pace=10.0,
        away=0.0,
        record=lambda _: None,
    )
    joining.hold(model("a", 4, 500))
    trio.run(joining.choose, lambda: ("a",), clock=MockClock(autojump_threshold=0))
    assert [each.sender for each in mailbox.taken] == ["a"]
    assert held == [True, True]
    assert not joining.hold(model("late", 5, 600))


def test_a_model_that_is_hardly_better_is_not_taken():
    taken, [record], _, _ = joined(model("a", 0.4, 5000), model("b", -1, 500), model("c", 11, 500))
    assert (taken, record["chosen"]) == ([], None)


@pytest.mark.parametrize("age", [0, 7000])
def test_models_that_are_not_far_ahead_are_merged_as_ever(age):
    """A network in which all begin together is as it was."""
    taken, recorded, held, _ = joined(*(model(each, 5, age + 100) for each in "abc"), age=age)
    assert (taken, recorded, held) == ([], [], [False] * 3)


def test_it_waits_no_longer_than_there_is_somebody_to_wait_for():
    *_, recorded, _, seconds = joined(model("a", 5, 500), known={"a"})
    assert recorded[0]["chosen"] == "a"
    assert seconds <= 4
    *_, seconds = joined(model("a", 5, 500), known={"a", "silent"})
    assert 10 <= seconds <= 12
    *_, seconds = joined(model("a", 5, 500), known={"a"}, alone=1000.0)
    assert 1002 <= seconds <= 1004


def test_of_one_sender_the_newest_counts_once():
    models = [model("a", 1, 500), model("a", 4, 600), model("b", 3, 500)]
    _, [record], held, _ = joined(*models, known={"a", "b", "silent"})
    assert record["losses"] == {"a": 1.0, "b": 2.0}
    assert held == [True] * 3


ALONE = {"exchange": {"patience": 0.01}}


def mislabelled(index):
    """A task whose data teach something else."""
    task = blobs(index=index)

    def data():
        whole = task.data()
        return dataclasses.replace(whole, train_targets=(whole.train_targets + 1) % 3)

    return dataclasses.replace(task, data=data)


@asynccontextmanager
async def a_newcomer_among(directory, tasks):
    """Peers that learned alone, and one that comes late; it has chosen inside the block."""
    async with AsyncExitStack() as stack:
        others = []
        for index, task in enumerate(tasks):
            peer = Peer(directory / str(index), settings=quick_settings(index, **ALONE), task=task)
            await stack.enter_async_context(running(peer))
            others.append(peer)
        await until(lambda: min(peer.status().age for peer in others) > 150)
        bootstrap = [each for peer in others for each in peer.status().addresses]
        settings = quick_settings(len(tasks), bootstrap=bootstrap, exchange={"patience": 1000.0})
        newcomer = Peer(directory / "newcomer", settings=settings)
        await stack.enter_async_context(running(newcomer))
        await until(lambda: records_of(newcomer.home, "join") and newcomer.status().event >= 3)
        yield others, newcomer


@pytest.mark.slow  # on a busy machine it may have learned better by itself
@in_trio
async def test_a_newcomer_does_not_begin_with_what_peers_of_other_ends_teach(tmp_path):
    async with a_newcomer_among(tmp_path, [mislabelled(0), blobs(index=1), mislabelled(2)]) as (
        others,
        newcomer,
    ):
        [join] = records_of(newcomer.home, "join")
        assert join["chosen"] == others[1].status().peer_id
        [adopted] = records_of(newcomer.home, "adopt")
        assert adopted["sender"] == join["chosen"]


@in_trio
async def test_a_newcomer_that_chose_is_replayed(tmp_path):
    async with a_newcomer_among(tmp_path, [None] * 3) as (_, newcomer):
        [join] = records_of(newcomer.home, "join")
        assert join["chosen"] == min(join["losses"], key=join["losses"].get)
        [adopted] = records_of(newcomer.home, "adopt")
        assert adopted["sender"] == join["chosen"]
    homes = [tmp_path / each for each in ("0", "1", "2", "newcomer")]
    report = await trio.to_thread.run_sync(lambda: replay(homes))
    assert report.equal


@pytest.mark.parametrize("away", [10.0, 3600.0])
def test_a_peer_that_was_long_away_comes_back_like_a_newcomer(tmp_path, away):
    async def main():
        hub = Peer(tmp_path / "hub", settings=quick_settings(0, **ALONE))
        alice = Peer(tmp_path / "alice", settings=quick_settings(1, exchange={"patience": 0.01}))
        async with running(alice):
            await until(lambda: alice.status().age >= 3)
            await until(lambda: alice.status().saved_age >= 3)
        saved = load_checkpoint(alice.home.checkpoint, alice.task, optimiser_state_size=0)
        assert abs(saved.saved_at - time.time()) < 30
        saved = dataclasses.replace(saved, saved_at=time.time() - away)
        save_checkpoint(alice.home.checkpoint, saved, alice.task)
        async with running(hub):
            await until(lambda: hub.status().age > saved.age + 200)
            settings = quick_settings(1, bootstrap=hub.status().addresses, exchange={"patience": 1000.0})
            again = Peer(tmp_path / "alice", settings=settings)
            async with running(again):
                await until(lambda: records_of(again.home, "merge") or records_of(again.home, "join"))
                await until(lambda: len(records_of(again.home, "exchange")) > 4)
            assert bool(any(each["kind"] == "join" for each in all_of(again))) == (away > 600)

    trio.run(main)


def all_of(peer):
    from gossipfl.peer import read_records

    return read_records(peer.home.records).to_dicts()
