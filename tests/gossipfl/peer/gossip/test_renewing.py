"""A model whose connection broke: continued, or replaced by a newer one."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from gossipfl.codecs import BFLOAT16
from gossipfl.errors import NonFiniteUpdate
from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.outgoing import OutgoingModels
from gossipfl.training import Nodes
from gossipfl.wire import Frame
from tests.gossipfl.network.helpers import in_trio


async def renewed(*, old, newest, remaining, fails=False):
    """What becomes of a frame of a model of age ``old``, and whether it was released."""
    nodes = dataclasses.replace(Nodes.start(torch.zeros(1, 3)), ages=torch.tensor([newest]))
    state = State(nodes=nodes)
    released = []

    async def framed(version, *, recipient, codec, part, wants_answer):
        assert version is state
        assert (recipient, codec, part) == ("bob", BFLOAT16, 2)
        assert wants_answer
        if fails:
            raise NonFiniteUpdate("diverged")
        return "newer"

    outgoing = SimpleNamespace(frame=framed)
    sent = Frame((memoryview(b"head"),), on_release=lambda: released.append(True))
    frame = await OutgoingModels.newer_frame(
        outgoing,
        sent,
        remaining,
        newest=lambda: state,
        age=old,
        recipient="bob",
        codec=BFLOAT16,
        part=2,
        wants_answer=True,
    )
    return frame, bool(released)


@pytest.mark.parametrize(
    ("old", "newest", "remaining", "is_renewed"),
    [
        (100, 100, 0.9, False),
        (100, 101, 1.0, True),  # nothing of it has arrived: the newer one is worth more
        (100, 199, 0.5, False),  # half of it brings 100, half of the newer one 99.5
        (100, 201, 0.5, True),
        (0, 1, 0.1, True),
        (0, 0, 1.0, False),
        (1000, 1010, 0.2, False),
    ],
)
def test_the_frame_that_brings_more_age_a_byte_is_sent(old, newest, remaining, is_renewed):
    @in_trio
    async def run():
        outcome = await renewed(old=old, newest=newest, remaining=remaining)
        assert outcome == (("newer", True) if is_renewed else (None, False))

    run()


@in_trio
async def test_a_diverged_model_replaces_nothing():
    assert await renewed(old=1, newest=100, remaining=1.0, fails=True) == (None, False)
