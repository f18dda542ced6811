"""Versions that are being sent: which one is sent next, and when its memory is free."""

import torch
import trio

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


def sent(versions, version):
    made = frame()
    versions.add(version, made)
    return made


@in_trio
async def test_one_version_besides_the_newest_has_room_in_any_case():
    versions, old, new = VersionsSent(limit=0, longest=10.0), state(1), state(2)
    assert versions.choose(old) is old
    first, second = sent(versions, old), sent(versions, old)
    assert versions.choose(old) is old
    assert versions.choose(new) is old, "a second version would need a second row"
    first.release()
    assert versions.choose(new) is old
    del second  # a frame that is dropped is released
    assert versions.choose(new) is new


@in_trio
async def test_small_models_are_always_sent_in_their_newest_version():
    versions = VersionsSent(limit=4 * ROW, longest=10.0)
    frames = [sent(versions, state(event)) for event in range(3)]
    newest = state(5)
    assert versions.choose(newest) is newest
    frames.append(sent(versions, newest))
    assert versions.choose(state(6)).event == 5


@in_trio
async def test_a_version_is_not_sent_for_ever():
    versions, old = VersionsSent(limit=0, longest=10.0), state(1)
    held = sent(versions, old)
    trio.lowlevel.current_clock()
    versions._sending[1].since -= 11.0
    assert versions.choose(state(2)) is None
    held.release()
    held.release()
    assert versions.choose(state(2)).event == 2


def test_only_frames_that_are_sent_once_let_go_of_their_rows():
    kept = frame()
    kept.release()
    assert kept.size == 10
    assert len(kept.buffers) == 2
    told = []
    spent = Frame(kept.buffers, on_release=lambda: told.append(1))
    spent.release()
    assert (spent.size, len(spent.buffers), told) == (10, 1, [1])
