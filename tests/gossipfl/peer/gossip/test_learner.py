"""The one owner of the model: what it does with a mailbox, and that nobody waits for it."""

import dataclasses
import threading
import time

import numpy as np
import torch
import trio

from gossipfl.algorithms import ADPSGD, GossipLearning, Message
from gossipfl.algorithms.gate import LossProbe
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.gossip.events import Incoming, State
from gossipfl.peer.gossip.guard import Guard
from gossipfl.peer.gossip.learner import Learner
from gossipfl.settings import TrainingSettings
from gossipfl.settings.gate import GateSettings
from gossipfl.training import NodeData, Nodes, Trainer
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.tasks import blobs

DEFAULT = GossipLearning()
#: A gate that lets everything finite through.
BLIND = GateSettings(radius=1e9, angle=2, norm=1e9, loss=1e9, unmoved_times=10**9, pace=1e9)


def make(
    *,
    merges_per_training=2,
    patience=1000.0,
    mailbox=4,
    pause=0.0,
    algorithm=DEFAULT,
    gate=None,
    merge_samples=0,
    **training,
):
    task = blobs(pause=pause)
    data = task.data()
    own = NodeData.of_one_node(data.train_inputs, data.train_targets)
    trainer = Trainer.of(task, own, TrainingSettings(**training))
    records = []
    learner = Learner(
        state=State(
            nodes=Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
        ),
        trainer=trainer,
        algorithm=algorithm,
        merges_per_training=merges_per_training,
        patience=patience,
        mailbox=mailbox,
        record=records.append,
        guard=gate and Guard(gate, LossProbe(task, own, task.initial_row(), samples=64)),
        effects=MergeEffects(task, data, samples=merge_samples) if merge_samples else None,
    )
    return learner, records, task


def incoming(task, *, age=0, value=0.0, event=0, sender="P1"):
    return Incoming(
        message=Message(shared=torch.full((1, task.layout.shared_size), value), ages=torch.tensor([age])),
        sender=sender,
        sequence=1,
        incarnation=1,
        event=event,
        codec="float32",
    )


@in_trio
async def test_one_training_follows_every_so_many_merges():
    learner, records, task = make(merges_per_training=3, mailbox=16)
    for event in range(7):
        assert learner.offer(incoming(task, event=event))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.event == 7)
        assert [record["trained"] for record in records] == [False, False, True] * 2 + [False]
        assert [record["event"] for record in records] == list(range(1, 8))
        assert [record["sender_event"] for record in records] == list(range(7))
        assert learner.state.step == 2
        assert learner.state.merges_pending == 1
        for event in (7, 8):  # one that comes later completes the count
            learner.offer(incoming(task, event=event))
        await until(lambda: learner.state.event == 9)
        assert learner.state.step == 3
        assert learner.state.merges_pending == 0
        nursery.cancel_scope.cancel()


@in_trio
async def test_the_effect_of_a_merge_is_measured_before_training():
    learner, records, task = make(merges_per_training=2, mailbox=16, merge_samples=16)
    data, before = task.data(), learner.state.nodes.rows
    places = np.linspace(0, len(data.test_targets) - 1, 16).astype(np.int64)
    inputs, targets = data.test_inputs[places], data.test_targets[places]

    def loss(rows):
        return float(task.evaluate(rows, inputs, targets)["loss"][0])

    first, second = torch.full_like(before, 0.5), torch.full_like(before, -1.0)
    for age, value, sender in ((0, 0.5, "P1"), (0, -1.0, "P2")):
        learner.offer(incoming(task, age=age, value=value, sender=sender))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.event == 2)
        nursery.cancel_scope.cancel()
    once = (before + first) / 2
    twice = (once + second) / 2
    assert [record["trained"] for record in records] == [False, True]
    for record, rows in zip(records, [(before, once), (once, twice)], strict=True):
        assert abs(record["effect"] - (loss(rows[0]) - loss(rows[1]))) < 1e-5
    assert abs(records[0]["effect"]) > 1e-3
    assert learner._work._effects.described("P2")["mean"] == records[1]["effect"]
    assert learner._work._effects.described("P2")["standard_error"] is None
    assert learner._work._effects.described("P3") is None


@in_trio
async def test_what_a_neighbour_sends_beyond_its_share_sets_no_pace_of_training():
    learner, records, task = make(merges_per_training=1, mailbox=64, gate=BLIND)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        for event in range(60):  # one of four pushes six times as much as the others together
            sender = f"P{1 + event % 3}" if event % 7 == 0 else "P4"
            learner.offer(incoming(task, value=0.1 + 0.05 * event, event=event, sender=sender))
        await until(lambda: learner.state.event == 60)
        nursery.cancel_scope.cancel()
    assert all(record["trained"] == (record.get("gate") != "share") for record in records)
    assert sum(record["trained"] for record in records) == learner.state.step < 45
    assert all(record["trained"] for record in records if record["sender"] != "P4")


@in_trio
async def test_a_merge_weighs_by_age_and_takes_the_larger_one():
    learner, _, task = make(merges_per_training=100)
    start = learner.state.nodes.rows[0]
    learner.offer(incoming(task, age=30, value=2.0))  # own age 0: the other's model entirely
    learner.offer(incoming(task, age=10, value=6.0))  # 30 : 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.event == 2)
        nursery.cancel_scope.cancel()
    assert not torch.equal(learner.state.nodes.rows[0], start)
    torch.testing.assert_close(learner.state.nodes.rows, torch.full((1, task.layout.size), 3.0))
    assert learner.state.age == 30


@in_trio
async def test_nobody_comes_so_it_trains_alone():
    learner, records, _ = make(patience=0.05)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.step >= 3)
        nursery.cancel_scope.cancel()
    assert {record["kind"] for record in records} == {"train"}
    assert all(record["trained"] for record in records)
    times = learner.state
    assert times.age == times.step == times.event


@in_trio
async def test_too_few_come_so_it_trains_alone_too():
    """One model a patience, where two are wanted: the second training must not wait for them for ever."""
    learner, records, task = make(merges_per_training=1000, patience=0.05, mailbox=16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        with trio.fail_after(20):
            while learner.state.step < 3:
                learner.offer(incoming(task))
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert {record["kind"] for record in records} == {"train", "merge"}


@in_trio
async def test_a_full_mailbox_takes_no_more():
    learner, _, task = make(mailbox=3, merges_per_training=1)
    offered = [learner.offer(incoming(task, sender=f"P{each}")) for each in range(5)]
    assert offered == [True, True, True, False, False]
    assert not learner.would_refuse("P1"), "its older model can go"
    assert learner.would_refuse("P3")
    assert learner.mailbox_is_full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.event == 3)
        nursery.cancel_scope.cancel()
    assert not learner.mailbox_is_full


@in_trio
async def test_states_are_values_that_only_run_replaces():
    learner, _, task = make(merges_per_training=1)
    kept = learner.state
    row = kept.nodes.rows.clone()
    learner.offer(incoming(task, age=5, value=1.0))
    assert learner.state is kept  # offering changes nothing
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.event == 1)
        nursery.cancel_scope.cancel()
    assert torch.equal(kept.nodes.rows, row)
    assert kept.event == 0
    assert learner.state is not kept


@in_trio
async def test_a_model_received_is_never_written_to():
    learner, _, task = make(merges_per_training=1, algorithm=GossipLearning(merge="RW"))
    message = incoming(task, age=5, value=0.25)
    learner.offer(message)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: learner.state.step == 1)
        nursery.cancel_scope.cancel()
    shared = message.message.shared
    assert torch.equal(shared, torch.full_like(shared, 0.25))


@in_trio
async def test_cancelled_in_the_middle_of_a_step_it_publishes_nothing_and_does_not_wait():
    learner, _, task = make(merges_per_training=1, pause=1.5)
    learner.offer(incoming(task))
    before = learner.state
    threads = threading.active_count()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        await until(lambda: threading.active_count() > threads or trio.current_time() > start + 0.5)
        nursery.cancel_scope.cancel()
    assert learner.state is before
    assert trio.current_time() - start < 1.5  # the step alone takes that


async def largest_gap(body, *, seconds=0.6):
    """The longest time for which the event loop did not come round while `body` ran."""
    gaps = []

    async def watch():
        last = time.perf_counter()
        while True:
            await trio.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.sleep(0.01)
        with trio.move_on_after(seconds):
            await body()
        nursery.cancel_scope.cancel()
    return max(gaps)


@in_trio
async def test_the_loop_stays_responsive_while_a_slow_module_trains():
    """Against the same training on the loop itself, where each step keeps everything else waiting."""
    learner, _, _ = make(patience=1e-6, pause=0.2)

    async def on_the_loop():
        state = learner.state
        while True:
            state = learner._work(state, [])
            await trio.lowlevel.checkpoint()

    threaded = await largest_gap(learner.run)
    blocking = await largest_gap(on_the_loop)
    assert blocking >= 0.2
    assert threaded < blocking / 2


def test_in_ad_psgd_who_is_asked_averages_and_who_asked_steps_from_where_it_began():
    learner, records, task = make(merges_per_training=1, algorithm=ADPSGD(), learning_rate=0.1)
    begun = learner.state
    asked = learner._work(begun, [incoming(task, age=4, value=1.0)])
    start = begun.nodes.rows
    torch.testing.assert_close(asked.nodes.rows, (start + 1) / 2)
    assert (asked.age, asked.step, asked.merges_pending) == (4, 0, 0)
    answer = dataclasses.replace(incoming(task, age=9, value=3.0, event=7), begun=begun)
    stepped = learner._work(asked, [answer])
    trained, _ = learner._work.trainer.train(begun.nodes, np.array([0]))
    expected = ((start + 1) / 2 + 3) / 2 + (trained.rows - start)
    torch.testing.assert_close(stepped.nodes.rows, expected)
    assert (stepped.age, stepped.step) == (10, 1)
    assert [record["trained"] for record in records] == [False, True]
    assert "begun_event" not in records[0]
    assert records[1]["begun_event"] == begun.event
    assert records[1]["loss"] > 0


DIVERGING = {"learning_rate": 1e30, "weight_decay": 1e10, "momentum": 0.5}


def kinds(records):
    return [record["kind"] for record in records]


def test_a_model_that_diverges_goes_back_and_then_takes_in_the_next_one_as_it_is(caplog):
    learner, records, task = make(merges_per_training=1, **DIVERGING)
    saved = State(nodes=dataclasses.replace(learner.state.nodes, ages=torch.tensor([6])), event=4)
    learner.keep(saved)
    after = learner._work(dataclasses.replace(saved, event=5), [incoming(task, age=5, value=2.0)])
    assert kinds(records) == ["merge", "go_back"]
    assert records[1]["good_event"] == 4
    assert (after.event, after.age, after.step) == (7, 6, 1)  # the next batch is another one
    assert torch.equal(after.nodes.rows, saved.nodes.rows)
    assert not after.nodes.optimiser_state.any()
    healed = learner._work(after, [incoming(task, age=90, value=3.0, event=17)])
    assert kinds(records)[2:] == ["adopt"]
    assert (records[2]["sender_event"], records[2]["trained"]) == (17, False)
    assert torch.equal(healed.nodes.rows, torch.full((1, task.layout.size), 3.0))
    assert (healed.event, healed.age, healed.step) == (8, 90, 1)
    assert not healed.nodes.optimiser_state.any()
    again = learner._work(healed, [incoming(task, age=90, value=3.0)])
    assert kinds(records)[3:] == ["merge", "go_back"]
    assert again.nodes.rows.isfinite().all()
    assert learner.divergences == 2
    assert caplog.text.count("the model diverged") == 2


def test_a_model_that_merges_have_spoiled_is_what_it_was_when_saved_sound():
    learner, records, task = make(merges_per_training=1, gate=BLIND, learning_rate=0.3)
    state = learner.state
    for _ in range(47):
        state = learner._work(state, [])
    for _ in range(16):  # so that it has been looked at
        same = Message(shared=state.nodes.rows, ages=state.nodes.ages)
        state = learner._work(state, [dataclasses.replace(incoming(task), message=same)])
    sound = state
    learner.keep(sound)
    while state.event % 16:
        state = learner._work(state, [])
    while "go_back" not in kinds(records):
        poison = 20 * torch.randn(1, task.layout.shared_size, generator=torch.Generator().manual_seed(0))
        bad = Message(shared=poison, ages=torch.tensor([state.age + 1000]))
        state = learner._work(state, [dataclasses.replace(incoming(task), message=bad)])
        learner.keep(state)  # a checkpoint happens to be due
        assert state.event < 200
    assert records[-1]["good_event"] == sound.event
    assert torch.equal(state.nodes.rows, sound.nodes.rows)
    assert learner.rollbacks == 1


def test_a_model_that_is_ruined_before_it_has_learned_starts_anew_and_judges_anew():
    learner, records, task = make(merges_per_training=1, gate=BLIND, learning_rate=1e-3)
    state, size = learner.state, task.layout.shared_size
    ruin = Message(
        shared=1e6 * torch.randn(1, size, generator=torch.Generator().manual_seed(0)),
        ages=torch.tensor([1000]),
    )
    while "go_back" not in kinds(records):
        state = learner._work(state, [dataclasses.replace(incoming(task), message=ruin)])
        assert state.event < 40
    assert torch.equal(state.nodes.rows[0, :size], task.initial_row()[:size])
    assert len(learner._guard._gatekeeper._evidence) == 0


def test_a_step_that_spoils_the_model_for_a_moment_is_not_undone():
    learner, *_ = make(gate=BLIND, learning_rate=0.3)
    state = learner.state
    for _ in range(64):
        state = learner._work(state, [])
    guard, sound = learner._guard, state.nodes
    noise = torch.randn(sound.rows.shape, generator=torch.Generator().manual_seed(0))
    bad = dataclasses.replace(sound, rows=20 * noise)
    assert guard.is_sound(sound) and not guard.is_sound(bad)
    assert [guard.is_spoiled(bad) for _ in range(3)] == [False] * 3 and guard.suspects
    assert not guard.is_spoiled(sound) and not guard.suspects
    assert [guard.is_spoiled(bad) for _ in range(4)] == [False, False, False, True]


def test_among_the_first_models_those_of_neighbours_with_other_data_may_be_worse_than_none():
    learner, *_ = make(gate=BLIND, learning_rate=0.3)
    state = learner.state
    for _ in range(64):
        state = learner._work(state, [])
    guard, sound = learner._guard, state.nodes
    assert guard.is_sound(sound)
    row, scale = torch.randn(sound.rows.shape, generator=torch.Generator().manual_seed(0)), 1.0
    while guard._probe.loss(scale * row) < 2 * guard._probe.initial:
        scale *= 1.1
    unlike = dataclasses.replace(sound, rows=scale * row)
    assert guard._probe.loss(unlike.rows) < 4 * guard._probe.initial
    assert [guard.is_spoiled(unlike) for _ in range(8)] == [False] * 8
    guard.counts["plausible"] += 200
    assert [guard.is_spoiled(unlike) for _ in range(4)] == [False] * 4
    guard.counts["plausible"] += 1
    assert [guard.is_spoiled(unlike) for _ in range(4)] == [False, False, False, True]


def test_without_neighbours_a_diverged_model_is_trained_on_from_the_last_good_one(caplog):
    learner, records, _ = make(**DIVERGING)
    state = learner.state
    for _ in range(5):
        state = learner._work(state, [])
        assert state.nodes.rows.isfinite().all()
    assert kinds(records) == ["train", "go_back"] * 5
    assert [record["event"] for record in records] == list(range(1, 11))
    assert state.step == 5
    assert learner.divergences == 5
    assert caplog.text.count("the model diverged") == 3  # at 1, 2 and 4


def test_a_neighbour_is_merged_again_once_training_went_well():
    learner, records, task = make(merges_per_training=1)
    gone_back = dataclasses.replace(learner.state, has_gone_back=True)
    state = learner._work(gone_back, [])
    learner._work(state, [incoming(task)])
    assert kinds(records) == ["train", "merge"]


def test_an_event_says_how_long_the_work_took():
    learner, records, task = make(merges_per_training=1, pause=0.05)
    began = time.perf_counter()
    learner._work(learner.state, [incoming(task)])
    learner._work(learner.state, [])
    whole = time.perf_counter() - began
    assert all(record["seconds"] >= 0.05 for record in records)  # the forward pass sleeps that long
    assert sum(record["seconds"] for record in records) <= whole


def test_models_are_tried_on_samples_of_any_form():
    """A dictionary of tensors is a sample as well as one tensor."""
    task = blobs()
    data = task.data()

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = task.build_module()

        def forward(self, values):
            return self.inner(values)

    named = dataclasses.replace(task, model=Named)
    plain = NodeData.of_one_node(data.test_inputs, data.test_targets)
    keyed = NodeData.of_one_node({"values": data.test_inputs}, data.test_targets)
    row = task.initial_row()
    one, other = (LossProbe(each, own, row, samples=9) for each, own in ((task, plain), (named, keyed)))
    assert one.initial == other.initial
