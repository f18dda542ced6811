"""The learner within its permission: training that is given up, merging that goes on, and none of either."""

import pytest
import torch
import trio

from gossipfl.peer.gossip.updates import Update
from gossipfl.peer.permission import Permission
from gossipfl.training import Nodes, Trainer, TrainingStopped
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.gossip.test_learner import incoming, make

NO_TRAINING = Permission(trains=False)
NOTHING = Permission(trains=False, merges=False)


@in_trio
async def test_training_in_progress_is_given_up_between_steps_and_the_merge_stays(monkeypatch):
    steps, one_step = [], Trainer._step
    monkeypatch.setattr(Trainer, "_step", lambda *given: steps.append(1) or one_step(*given))
    learner, records, task = make(merges_per_training=1, pause=0.02, local_steps=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        learner.offer(incoming(task, value=2.0, age=30))
        await until(lambda: len(steps) > 2)
        learner.allow(NO_TRAINING)
        await until(lambda: learner.state.event)  # which follows its record
        assert [(each["kind"], each["trained"], each["step"]) for each in records] == [("merge", False, 0)]
        expected = torch.full((task.layout.shared_size,), 2.0)
        assert torch.equal(learner.state.nodes.rows[0, : task.layout.shared_size], expected)
        assert learner.state.merges_pending == 1  # so the next merge trains
        nursery.cancel_scope.cancel()


@in_trio
async def test_without_training_merges_go_on_and_nobody_trains_alone():
    learner, records, task = make(merges_per_training=1, patience=0.01)
    learner.allow(NO_TRAINING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run)
        for event in range(3):
            learner.offer(incoming(task, event=event))
            await until(lambda event=event: learner.state.event == event + 1)
        assert [each["trained"] for each in records] == [False] * 3
        learner.allow(Permission())
        await until(lambda: learner.state.step > 0)  # alone, out of patience
        learner.allow(NO_TRAINING)
        step = learner.state.step
        learner.offer(incoming(task, event=9))
        await until(lambda: records[-1]["kind"] == "merge")
        assert learner.state.step <= step + 1
        nursery.cancel_scope.cancel()


@in_trio
async def test_without_a_permission_to_merge_models_are_refused_and_then_taken():
    learner, records, task = make(merges_per_training=1, patience=0.01)
    async with trio.open_nursery() as nursery:
        learner.allow(NOTHING)
        nursery.start_soon(learner.run)
        assert learner.would_refuse("P1")
        assert learner.mailbox_is_full
        assert not learner.offer(incoming(task))
        learner.allow(NO_TRAINING)
        assert learner.offer(incoming(task))
        await until(lambda: learner.state.event == 1)
        assert learner.state.step == 0
        nursery.cancel_scope.cancel()
    assert [each["kind"] for each in records] == ["merge"]


NODES = Nodes.start(torch.zeros(1, 3), optimiser_state_size=0)


@pytest.mark.parametrize(
    ("permitted", "trained"), [([True, False], 2), ([False, True], 0), ([True, True], 2)]
)
def test_of_the_updates_of_one_event_all_or_none_train(permitted, trained):
    answers, count = iter(permitted), 0

    def train(nodes, goes_on):
        nonlocal count
        if not goes_on():
            raise TrainingStopped("stopped")
        count += 1
        return nodes, torch.tensor([0.25])

    update = Update(train, 7.0, may_train=lambda: next(answers))
    assert update(update(NODES)) is NODES
    assert count == trained
    assert (update.is_stopped, update.loss) == (trained == 0, 0.25 if trained else 7.0)
