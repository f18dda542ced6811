"""The mailbox: order, limits, and newer models in the place of older ones."""

import dataclasses

import pytest
import torch
import trio
import trio.testing

from gossipfl.algorithms import ADPSGD, GossipLearning, Message, PushSum
from gossipfl.peer.gossip.events import Incoming
from gossipfl.peer.gossip.mailbox import ClockRequest, Mailbox
from tests.gossipfl.network.helpers import in_trio


def incoming(sender, event=0, **about):
    message = Message(shared=torch.zeros(1, 3), ages=torch.tensor([0]))
    return Incoming(
        message=message, sender=sender, incarnation=1, sequence=event, event=event, codec="float32", **about
    )


def waiting(mailbox):
    return [(each.sender, each.event) for each in mailbox.models]


def test_a_newer_model_takes_the_place_of_its_senders_older_one_only_where_there_is_no_room():
    mailbox = Mailbox(models=3, replaces=True)
    assert all(mailbox.put(each) for each in (incoming("a", 1), incoming("b", 1), incoming("a", 2)))
    assert waiting(mailbox) == [("a", 1), ("b", 1), ("a", 2)]
    assert mailbox.put(incoming("a", 3))
    assert waiting(mailbox) == [("b", 1), ("a", 2), ("a", 3)]
    assert not mailbox.put(incoming("c", 1))
    assert mailbox.has_room_for("b")
    assert not mailbox.has_room_for("c")
    assert not mailbox.has_room_for()


def test_a_newcomers_choice_is_not_replaced():
    mailbox = Mailbox(models=1, replaces=True)
    assert mailbox.put(incoming("a", 1, chosen_age=5))
    assert not mailbox.put(incoming("a", 2))


@pytest.mark.parametrize("algorithm", [PushSum(), ADPSGD()], ids=["weights", "answers"])
def test_nothing_is_replaced_that_must_not_be_lost(algorithm):
    assert not algorithm.behaviour.is_plain
    mailbox = Mailbox(models=1, replaces=algorithm.behaviour.is_plain)
    assert mailbox.put(incoming("a", 1))
    assert not mailbox.put(incoming("a", 2))
    assert GossipLearning().behaviour.is_plain


@in_trio
async def test_what_came_first_is_taken_first_and_requests_need_no_room():
    mailbox = Mailbox(models=1, replaces=True)
    request = ClockRequest(trio.open_memory_channel(1)[0])
    taken = []

    async def take():
        while len(taken) < 3:
            item = await mailbox.take()
            taken.append(item)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            first = incoming("a", 1)
            mailbox.put(first)
            mailbox.ask(request)
            await trio.testing.wait_all_tasks_blocked()
            last = incoming("b", 1)
            mailbox.put(last)
    assert taken == [first, request, last]
    assert mailbox.take_nowait() is None


@in_trio
async def test_a_deadline_loses_nothing():
    mailbox = Mailbox(models=1, replaces=True)
    mailbox.put(incoming("a", 1))
    with trio.move_on_after(0):
        await mailbox.take()
    assert waiting(mailbox) == [("a", 1)]


def test_rows_that_come_with_a_model_take_memory_too():
    rows = {"momentum": torch.zeros(1, 3), "weight": torch.zeros(1)}
    message = Message(shared=torch.zeros(1, 3), ages=torch.tensor([0]), carried=rows)
    assert dataclasses.replace(incoming("a"), message=message).nbytes == 4 * (3 + 3 + 1)
