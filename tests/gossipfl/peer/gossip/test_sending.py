"""Versions that are being sent: which one is sent next, and when its memory is free."""

import torch

from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.sending import VersionsSent
from gossipfl.training import Nodes
from gossipfl.wire import Frame
from tests.gossipfl.network.helpers import in_trio

ROW = 4 * 1000


def state(event):
    return State(nodes=Nodes.start(torch.zeros(1, 1000)), event=event)


def frame():
    return Frame((memoryview(b"header"), memoryview(b"body")))


def sent(versions, version, recipient="bob"):
    made = frame()
    versions.add(version, made, recipient)
    return made


def grow_old(versions, event):
    versions._sending[event].since -= 11.0


@in_trio
async def test_one_version_besides_the_newest_has_room_in_any_case():
    versions, old, new = VersionsSent(limit=0, longest=10.0), state(1), state(2)
    assert versions.choose(old, "carol") is old
    first, second = sent(versions, old), sent(versions, old)
    assert versions.choose(old, "carol") is old
    assert versions.choose(new, "carol") is old, "a second version would need a second row"
    first.release()
    assert versions.choose(new, "carol") is old
    del second  # a frame that is dropped is released
    assert versions.choose(new, "carol") is new


@in_trio
async def test_small_models_are_always_sent_in_their_newest_version():
    versions = VersionsSent(limit=4 * ROW, longest=10.0)
    frames = [sent(versions, state(event)) for event in range(3)]
    newest = state(5)
    assert versions.choose(newest, "carol") is newest
    frames.append(sent(versions, newest))
    assert versions.choose(state(6), "carol").event == 5


@in_trio
async def test_a_version_is_not_sent_for_ever():
    versions, old = VersionsSent(limit=0, longest=10.0), state(1)
    held = sent(versions, old)
    grow_old(versions, 1)
    assert versions.choose(state(2), "bob") is None
    held.release()
    held.release()
    assert versions.choose(state(2), "carol").event == 2


@in_trio
async def test_a_slow_reader_keeps_nobody_else_waiting_and_has_one_version_at_a_time():
    versions = VersionsSent(limit=0, longest=10.0)
    held = [sent(versions, state(1), "slow") for _ in range(8)]
    grow_old(versions, 1)
    newest = state(2)
    assert versions.choose(newest, "slow") is None
    assert versions.choose(newest, "carol") is newest
    held.append(sent(versions, newest, "slower"))
    assert versions.choose(state(3), "carol") is newest, "one that is not old yet is sent again"
    grow_old(versions, 2)
    held.append(sent(versions, versions.choose(state(3), "slowest"), "slowest"))
    grow_old(versions, 3)
    assert versions.choose(state(4), "carol") is None, "memory is limited for slow readers, too"
    held.pop().release()
    assert versions.choose(state(4), "carol").event == 4


@in_trio
async def test_a_slow_reader_has_one_version_even_where_there_is_room_for_many():
    versions = VersionsSent(limit=8 * ROW, longest=10.0)
    held = sent(versions, state(1), "slow")
    assert versions.choose(state(2), "slow").event == 2
    grow_old(versions, 1)
    assert versions.choose(state(2), "slow") is None
    held.release()
    assert versions.choose(state(2), "slow").event == 2


def test_only_frames_that_are_sent_once_let_go_of_their_rows():
    kept = frame()
    kept.release()
    assert kept.size == 10
    assert len(kept.buffers) == 2
    told = []
    spent = Frame(kept.buffers, on_release=lambda: told.append(1))
    spent.release()
    assert (spent.size, len(spent.buffers), told) == (10, 1, [1])
