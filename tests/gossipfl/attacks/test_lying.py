"""Hostile nodes that send messages: what their lies depend on."""

from dataclasses import dataclass

import pytest
import torch

from gossipfl.algorithms.messages import LARGEST_AGE
from gossipfl.attacks import AgeInflation, Liars, Noise, Replay, SameToAll, Scaled, Stale
from gossipfl.errors import InvalidAttack

NUMBERS = torch.tensor([3, 7, 20])
AGES = torch.tensor([5, 6, 7])


def versions(count, *, size=4, seed=0):
    return torch.randn(count, len(NUMBERS), size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("attack", [Noise(), Replay(lag=2), Stale(), AgeInflation(of="first")])
def test_lies_of_a_node_are_the_same_whoever_lies_beside_it(attack):
    together, alone = Liars(attack, NUMBERS, seed=1), Liars(attack, NUMBERS, seed=1)
    for rows in versions(5):
        expected, ages = together.lie(torch.arange(3), rows, AGES)
        for place in (2, 0, 1):
            came, age = alone.lie(torch.tensor([place]), rows[[place]], AGES[[place]])
            assert came.equal(expected[[place]]) and age.equal(ages[[place]])


def test_each_version_draws_anew_and_each_seed_too():
    liars, rows = Liars(Noise(), NUMBERS, seed=1), versions(1)[0]
    first, second = (liars.lie(torch.arange(3), rows, AGES)[0] for _ in range(2))
    other = Liars(Noise(), NUMBERS, seed=2).lie(torch.arange(3), rows, AGES)[0]
    drawn = torch.cat([first, second, other]) - rows.repeat(3, 1)
    assert len(drawn.unique(dim=0)) == 9


def test_a_replay_is_as_many_versions_old_as_it_says():
    liars, history = Liars(Replay(lag=2), NUMBERS, seed=0), versions(6)
    sent = [liars.lie(torch.arange(3), rows, AGES)[0] for rows in history]
    assert all(sent[t].equal(history[max(t - 2, 0)]) for t in range(6))


def test_who_begins_later_remembers_what_it_was_then():
    liars, (early, late) = Liars(Stale(), NUMBERS, seed=0), versions(2)
    liars.lie(torch.tensor([0]), early[:1], AGES[:1])
    assert liars.lie(torch.arange(3), late, AGES)[0].equal(torch.cat([early[:1], late[1:]]))


def test_ages_are_inflated_and_never_overflow():
    ages = torch.tensor([[0, 10], [5, 2**61]])
    assert AgeInflation(factor=3.0, more=1).claim(ages).tolist()[0] == [1, 31]
    assert AgeInflation(factor=1e9, more=2**53).claim(ages).min() > 0
    assert Scaled().claim(ages).equal(ages)


def test_nobody_claims_an_age_that_peers_would_not_take():
    liars = Liars(AgeInflation(of="first"), NUMBERS, seed=0)
    assert liars.lie(torch.arange(3), versions(1)[0], AGES)[1].tolist() == [LARGEST_AGE] * 3


def test_state_continues_where_it_was():
    whole, history = Liars(Replay(lag=3), NUMBERS, seed=0), versions(8)
    for rows in history[:4]:
        whole.lie(torch.arange(3), rows, AGES)
    again = Liars(Replay(lag=3), NUMBERS, seed=0)
    again.restore({name: kept.clone() for name, kept in whole.state().items()})
    for rows in history[4:]:
        expected = whole.lie(torch.arange(3), rows, AGES)[0]
        assert again.lie(torch.arange(3), rows, AGES)[0].equal(expected)


@dataclass(frozen=True)
class Narrow(SameToAll):
    """Returns something else than rows."""

    def send(self, senders):
        return senders.rows[:, :1]


def test_what_an_attack_returns_is_checked():
    with pytest.raises(InvalidAttack, match="Narrow: send must return a row for each hostile node"):
        Liars(Narrow(), NUMBERS, seed=0).lie(torch.arange(3), versions(1)[0], AGES)
