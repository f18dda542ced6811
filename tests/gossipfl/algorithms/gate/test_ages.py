"""Ages that nodes credit each other while others lie: simulated without models."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms.gate import evidence
from gossipfl.algorithms.gate.evidence import Evidence

PACE, SLACK, PERIOD = 10.0, 16, 2.0
HUGE = 2**40


def vote(age, *, answers=0, at=0.0):
    return evidence.Testimony(
        distance=1.0,
        angle=0.0,
        norm=1.0,
        loss=1.0,
        sample=torch.zeros(1),
        version=None,
        repeats=0,
        unmoved=0,
        claimed=age,
        age=age,
        answers=answers,
        at=at,
    )


@dataclass
class Node:
    """A node that has only an age."""

    pace: float
    age: float = 0.0

    def __post_init__(self):
        self.evidence = Evidence(size=256)

    def hear(self, sender, age, now, *, is_answer=False):
        self.evidence.expire(now)
        credited = self.evidence.supported_age(
            age, own=int(self.age), sender=sender, now=now, pace=PACE, slack=SLACK
        )
        last = self.evidence.last(sender)
        answers = (last.answers if last else 0) + is_answer
        self.evidence.note(sender, vote(credited, answers=answers, at=now))
        self.age = max(self.age, credited)


def mean_age(*, nodes=8, strangers=0.0, claim=0, liars=0, seconds=1000.0):
    """The mean age of honest nodes that swap models with a random other each period.

    Meanwhile each hears so many strangers a minute, each of them once, and liars that push in every period.
    """
    generator = np.random.default_rng(1)
    all_nodes = [Node(pace) for pace in generator.uniform(0.5, 1.5, nodes)]
    heard = 0
    for now in np.arange(0.0, seconds, PERIOD):
        for i in generator.permutation(nodes):
            one, j = all_nodes[i], int(generator.integers(nodes - 1))
            j += j >= i
            other = all_nodes[j]
            one.age += one.pace
            mine, theirs = int(one.age), int(other.age)
            one.hear(f"node {j}", theirs, now, is_answer=True)
            other.hear(f"node {i}", mine, now)
        for node in all_nodes:
            for _ in range(generator.poisson(strangers * PERIOD / 60)):
                heard += 1
                node.hear(f"stranger {heard}", claim, now)
            for liar in range(liars):
                node.hear(f"liar {liar}", HUGE, now)
    return float(np.mean([each.age for each in all_nodes]))


@pytest.fixture(scope="module")
def undisturbed():
    return mean_age()


@pytest.mark.parametrize(
    "lies",
    [
        {"strangers": 2, "claim": 0},
        {"strangers": 10, "claim": 0},
        {"strangers": 10, "claim": HUGE},
        {"liars": 1},
    ],
    ids=str,
)
def test_who_does_not_answer_neither_holds_ages_back_nor_drives_them_up(lies, undisturbed):
    """With equal votes, strangers of age 0 halved the ages, and one liar that pushed multiplied them by five."""
    share = mean_age(**lies) / undisturbed
    print(f"{lies}: {share:.2f} of the ages without them")
    assert 0.9 < share < 1.2


ages = st.integers(0, 10**6)


@given(
    own=ages,
    answerers=st.lists(ages, min_size=4, max_size=20),
    strangers=st.lists(st.integers(0, HUGE), max_size=200),
)
def test_strangers_decide_nothing_beyond_the_ages_of_those_that_answer(own, answerers, strangers):
    known = Evidence(size=256)
    for number, age in enumerate(answerers):
        known.note(f"answerer {number}", vote(age, answers=2))
    for number, age in enumerate(strangers):
        known.note(f"stranger {number}", vote(age))
    credited = known.supported_age(HUGE, own=own, sender="new", now=0.0, pace=PACE, slack=SLACK)
    votes = sorted([own, *answerers])
    assert max(own, votes[len(votes) // 2]) <= credited <= max(votes)


@given(st.lists(ages, min_size=3, max_size=40), st.booleans())
def test_votes_of_one_kind_count_alike(others, have_answered):
    known = Evidence()
    for number, age in enumerate(others):
        known.note(str(number), vote(age, answers=2 * have_answered))
    credited = known.supported_age(HUGE, own=5, sender="new", now=0.0, pace=PACE, slack=0)
    votes = sorted([5, *others])
    assert credited == max(5, votes[3 * (len(votes) - 1) // 4])
