"""Parts of models before the gate: honest ones pass, whatever the part, and liars' parts do not."""

import pytest
import torch

from gossipfl.algorithms import Sharing
from gossipfl.peer.gossip.guard import Guard
from gossipfl.settings.gate import GateSettings
from gossipfl.training import Nodes

SIZE, WIDTH = 101, 120  # shared parameters, and with those that stay local
SHARINGS = [Sharing(kind="partitioned", parts=3), Sharing(kind="subsampled", parts=3)]
HONEST = [f"honest-{number}" for number in range(5)]


class Guarded:
    """A guard whose peer receives parts of models near its own."""

    def __init__(self, sharing, *, seed=0):
        self.sharing, self.now, self.events = sharing, 0.0, 0
        self.random = torch.Generator().manual_seed(seed)
        self.guard = Guard(
            GateSettings(), None, clock=lambda: self.now, neighbours=lambda: 6, sharing=sharing
        )
        self.nodes = Nodes.start(torch.randn(1, WIDTH, generator=self.random)).with_parts(sharing.ages)

    def near(self, deviation=0.1):
        own = self.nodes.rows[:, :SIZE]
        return own + deviation * torch.randn(1, SIZE, generator=self.random)

    def admit(self, sender, row, *, part=None, age=100):
        self.now += 1.0
        self.events += 1
        if part is None:
            part = int(torch.randint(self.sharing.count, (1,), generator=self.random))
        return self.guard.admit(
            self.nodes,
            sender=sender,
            version=(1, self.events),
            shared=self.sharing.numbers(row, part),
            part=part,
            size=SIZE,
            age=age + self.events,
            is_answer=True,
        )

    def hear_the_honest(self, rounds=20):
        return [self.admit(sender, self.near()).reason for _ in range(rounds) for sender in HONEST]


@pytest.mark.parametrize("sharing", SHARINGS, ids=lambda each: each.kind)
def test_honest_parts_are_let_in(sharing):
    reasons = Guarded(sharing).hear_the_honest()
    assert set(reasons) <= {"plausible", "first", "share"}
    assert reasons[20:].count("plausible") > 60


@pytest.mark.parametrize("sharing", SHARINGS, ids=lambda each: each.kind)
@pytest.mark.parametrize(
    "lie", [lambda row: -row, lambda row: 10 * row, torch.zeros_like], ids=["−x", "10x", "0"]
)
def test_a_liars_parts_are_refused_or_clipped_to_what_is_usual(sharing, lie):
    guarded = Guarded(sharing)
    guarded.hear_the_honest()
    usual = 0.1 * (SIZE / 3) ** 0.5
    for _ in range(5):
        admission = guarded.admit("liar", lie(guarded.near()))
        assert admission.share < 0.5
        assert not admission.share * admission.distance > 1.5 * GateSettings().radius * usual
    assert guarded.admit(HONEST[0], guarded.near()).reason in ("plausible", "share")


def test_who_sends_one_part_again_and_again_is_noticed_and_other_parts_are_news():
    sharing = SHARINGS[0]
    guarded = Guarded(sharing)
    guarded.hear_the_honest()
    row = guarded.near()
    other_parts = [guarded.admit("standing", row, part=number % 3).share for number in range(3)]
    same_part = [guarded.admit("standing", row, part=2).share for _ in range(3)]
    assert min(other_parts) > 0.5
    assert max(same_part) <= 1 / 64
