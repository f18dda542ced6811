"""Aimed attacks of nodes that hear one model at a time, each against a few lines of NumPy node by node."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.attacks import ALIE, IPM, Dissensus, Liars, Mimic, Spectral
from gossipfl.attacks.aimed.hidden import alie_factor
from gossipfl.attacks.hearsay import HEARD
from gossipfl.errors import InvalidAttack

few = settings(max_examples=30, deadline=None)
NUMBERS = torch.tensor([3, 7, 20])
AGES = torch.tensor([5, 6, 7])
SIZE = 4

messages = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60)


def made(attack, heard, *, seed=0):
    """Liars that have heard models, each at one of them, and what each of them has heard."""
    generator = np.random.default_rng(seed)
    liars, memories = Liars(attack, NUMBERS, seed=0), [[], [], []]
    for place, hostile in heard:
        row = generator.normal(size=SIZE)
        liars.hear(torch.tensor([place]), torch.from_numpy(row)[None], torch.tensor([hostile]))
        memories[place].append((row, hostile))
    return liars, [memory[-HEARD:] for memory in memories], torch.from_numpy(generator.normal(size=(3, SIZE)))


def by_hand(attack, memory, own):
    """What one node says, by definition."""
    good = np.array([row for row, hostile in memory if not hostile]).reshape(-1, SIZE)
    hostile = len(memory) - len(good)
    mean = good.mean(axis=0) if len(good) else own
    match attack:
        case ALIE(factor=factor):
            factor = alie_factor(len(memory) + 1, hostile) if factor is None else factor
            return mean - factor * (good.std(axis=0, ddof=1) if len(good) > 1 else 0)
        case IPM(factor=factor):
            return -factor * mean
        case Dissensus(factor=factor):  # all weights are alike
            return own - factor * (good - own).sum(axis=0) * (
                1 / hostile if hostile else 1 / (len(memory) + 1)
            )


@few
@given(messages, st.sampled_from([ALIE(), ALIE(factor=2.0), IPM(factor=0.7), Dissensus(factor=1.5)]))
def test_lies_are_made_of_the_newest_models_that_honest_nodes_sent(heard, attack):
    liars, memories, own = made(attack, heard)
    lies, ages = liars.lie(torch.arange(3), own, AGES)
    assert ages.equal(AGES)
    for lie, memory, row in zip(lies.numpy(), memories, own.numpy(), strict=True):
        assert lie == pytest.approx(by_hand(attack, memory, row), abs=1e-9)


def test_mimic_copies_one_of_them_and_nothing_before_any_was_heard():
    liars, memories, own = made(Mimic(), [(0, False)] * 20 + [(0, True), (1, True)])
    lies, _ = liars.lie(torch.arange(3), own, AGES)
    assert any((lies[0].numpy() == row).all() for row, hostile in memories[0] if not hostile)
    assert lies[1:].equal(own[1:])


def test_what_is_no_number_is_forgotten():
    liars, _, own = made(IPM(factor=1.0), [(0, False)] * 3)
    before = liars.lie(torch.arange(3), own, AGES)[0]
    for bad in (torch.nan, torch.inf):
        liars.hear(torch.tensor([0]), torch.full((1, SIZE), bad, dtype=torch.float64), torch.tensor([False]))
    assert liars.lie(torch.arange(3), own, AGES)[0].equal(before)


def test_liars_go_on_from_what_they_have_kept():
    heard = [(0, False), (1, False), (0, True)] * 12
    whole, _, own = made(ALIE(factor=1.0), heard)
    again = Liars(ALIE(factor=1.0), NUMBERS, seed=0)
    again.restore({name: kept.clone() for name, kept in whole.state().items()})
    for liars in (whole, again):
        liars.hear(torch.tensor([1]), torch.ones(1, SIZE, dtype=torch.float64), torch.tensor([False]))
    lies = [liars.lie(torch.arange(3), own, AGES)[0] for liars in (whole, again)]
    assert lies[0].equal(lies[1])


@pytest.mark.parametrize(
    ("attack", "missing"),
    [
        (Spectral(), "links and rows of all nodes"),
        (Mimic(victim=3), "newest row of the victim"),
        (ALIE(search=True), "receivers' rule, for search = true"),
        (IPM(search=True), "receivers' rule"),
        (Dissensus(search=True), "receivers' rule"),
    ],
    ids=repr,
)
def test_what_hearing_is_not_enough_for_is_refused_by_name(attack, missing):
    with pytest.raises(InvalidAttack, match=missing):
        Liars(attack, NUMBERS, seed=0)
