"""Attacks, each against a few lines of NumPy receiver by receiver, and what is refused."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from gossipfl import attacks
from gossipfl.algorithms import Neighbourhood
from gossipfl.attacks import Everyone, KnownLinks, Receivers, SameToAll, Senders, attack_names, find_attack
from gossipfl.attacks.aimed.hidden import alie_factor
from gossipfl.errors import InvalidAttack, SettingError, UnknownAttack
from gossipfl.outgoing import Draws

few = settings(max_examples=30, deadline=None)


def senders_of(rows, *, turn=0, memory=None, seed=0):
    count = len(rows)
    keys = torch.arange(count) + 1000 * turn + seed
    return Senders(
        numbers=torch.arange(count),
        rows=rows,
        turns=torch.full((count,), turn),
        draws=Draws(keys=keys, common=seed + 77),
        memory=memory or {},
    )


def complete(honest, hostile, *, size=3, seed=0):
    """Everybody hears from everybody; the last nodes are hostile. Receivers are the honest nodes."""
    n = honest + hostile
    generator = np.random.default_rng(seed)
    rows, weights = generator.normal(size=(n, size)), generator.random((n, n))
    weights /= weights.sum(axis=1, keepdims=True)
    others = np.array([[j for j in range(n) if j != i] for i in range(honest)])
    index = np.arange(honest)[:, None]
    around = Neighbourhood(
        nodes=torch.arange(honest),
        own=torch.from_numpy(rows[:honest]),
        own_weights=torch.from_numpy(np.diag(weights)[:honest].copy()),
        rows=torch.from_numpy(rows[others]),
        weights=torch.from_numpy(weights[index, others]),
        present=torch.ones(honest, n - 1, dtype=torch.bool),
    )
    mask = np.arange(n) >= honest

    def mean(rows):
        return around.own_weights[:, None] * around.own + (around.weights[..., None] * rows).sum(1)

    receivers = Receivers(
        around=around,
        numbers=torch.arange(honest),
        neighbours=torch.from_numpy(others),
        hostile=torch.from_numpy(others >= honest),
        everyone=Everyone(
            rows=torch.from_numpy(rows),
            hostile=torch.from_numpy(mask),
            links=KnownLinks(lambda: csr_array(weights), mask),
        ),
        turn=0,
        outcome=mean,
    )
    return receivers, rows, weights


def sent(attack, receivers):
    """One row for each receiver."""
    found = attack.send_to(receivers)
    return found.expand(-1, receivers.hostile.shape[1], -1)[:, -1].numpy()


@few
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 999))
def test_aimed_attacks_are_their_formulas(honest, hostile, seed):
    receivers, rows, weights = complete(honest, hostile, seed=seed)
    fiedler = receivers.everyone.links.fiedler.numpy()
    amplitude = (fiedler[:honest, None] * rows[:honest]).sum(0)
    z = alie_factor(honest + hostile, hostile)
    for i in range(honest):
        good = [j for j in range(honest) if j != i]
        mean = rows[good].mean(0)
        deviation = rows[good].std(0, ddof=1) if len(good) > 1 else np.zeros(rows.shape[1])
        pull = sum(weights[i, j] * (rows[j] - rows[i]) for j in good) / weights[i, honest:].sum()
        expected = {
            attacks.ALIE(): mean - z * deviation,
            attacks.ALIE(factor=1.5): mean - 1.5 * deviation,
            attacks.IPM(factor=0.7): -0.7 * mean,
            attacks.Dissensus(factor=1.2): rows[i] - 1.2 * pull,
            attacks.Spectral(factor=3.0): rows[i] + 3.0 * fiedler[i] * amplitude,
            attacks.Mimic(victim=1): rows[1],
        }
        for attack, row in expected.items():
            assert sent(attack, receivers)[i] == pytest.approx(row, abs=1e-9), attack


def test_dissensus_of_one_cancels_all_that_receivers_hear():
    receivers, rows, _ = complete(5, 2)
    lies = receivers.told(attacks.Dissensus(factor=1.0).send_to(receivers))
    assert receivers.outcome(lies).numpy() == pytest.approx(rows[:5], abs=1e-12)


@pytest.mark.parametrize(
    ("n", "m", "share"), [(50, 12, 24 / 38), (25, 5, 12 / 20), (20, 9, 9 / 11), (11, 5, 5 / 6)]
)
def test_the_factor_of_alie(n, m, share):
    """s = ⌊n/2 + 1⌋ − m honest supporters are needed for a majority: z = Φ⁻¹((n − m − s)/(n − m))."""
    from statistics import NormalDist

    assert alie_factor(n, m) == pytest.approx(NormalDist().inv_cdf(share), abs=1e-9)


@pytest.mark.parametrize("attack", [attacks.ALIE, attacks.IPM, attacks.Dissensus, attacks.Spectral])
def test_a_searched_factor_does_at_least_as_much_harm_as_any_given_one(attack):
    receivers, _, _ = complete(6, 3, seed=4)

    def median(rows):
        return torch.cat([receivers.around.own[:, None], rows], 1).median(dim=1).values

    receivers = Receivers(**{**{k: getattr(receivers, k) for k in Receivers.__slots__}, "outcome": median})
    honest = median(receivers.around.rows)

    def harm(attack):
        return (median(receivers.told(attack.send_to(receivers))) - honest).norm(dim=1)

    searched = harm(attack(search=True, at_most=4.0))
    for factor in np.linspace(0, 4, 9):
        assert bool((searched >= harm(attack(factor=float(factor))) - 1e-9).all())


def test_mimics_copy_the_neighbour_that_differs_most():
    receivers, rows, _ = complete(6, 2)
    receivers.around.rows[0, 2] = 50.0
    assert sent(attacks.Mimic(), receivers)[0].tolist() == [50.0] * 3
    assert all(
        any(np.allclose(row, other) for other in rows[:6]) for row in sent(attacks.Mimic(), receivers)[1:]
    )


@few
@given(st.integers(0, 99), st.integers(0, 5))
def test_false_rows_are_their_formulas(seed, turn):
    rows = torch.randn(3, 400, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    of = senders_of(rows, turn=turn, seed=seed)
    assert attacks.SignFlip(scale=2.0).send(of).equal(-2 * rows)
    assert attacks.Constant(value=3.0).send(of).equal(torch.full_like(rows, 3.0))
    assert attacks.Echo().send(of).equal(rows)
    noise = attacks.Noise(deviation=0.5).send(of) - rows
    assert noise.std().item() == pytest.approx(0.5, rel=0.1)
    scaled = (attacks.ScaledNoise(scale=2.0).send(of) - rows) / rows.square().mean(1, keepdim=True).sqrt()
    assert scaled.std().item() == pytest.approx(2.0, rel=0.1)
    moved = attacks.LittlePerStep(move=0.1).send(of) - rows
    assert moved.norm(dim=1).tolist() == pytest.approx((0.1 * rows.norm(dim=1)).tolist())
    directions = moved / moved.norm(dim=1, keepdim=True)
    assert torch.allclose(directions, directions[:1])  # all push the same way, in every round
    later = attacks.LittlePerStep(move=0.1).send(senders_of(rows, turn=turn + 1, seed=seed)) - rows
    assert torch.allclose(later, moved)


def test_noise_is_new_for_each_node_and_round_and_the_same_for_the_same_seed():
    rows = torch.zeros(2, 50)
    first = attacks.Noise().send(senders_of(rows))
    assert first.equal(attacks.Noise().send(senders_of(rows)))
    assert not first[0].equal(first[1])
    assert not first.equal(attacks.Noise().send(senders_of(rows, turn=1)))


@given(st.integers(1, 5), st.integers(1, 12))
def test_replayed_rows_are_as_old_as_they_should_be(lag, rounds):
    attack = attacks.Replay(lag=lag)
    history = [torch.full((2, 3), float(t)) for t in range(rounds)]
    memory = attack.start(history[0])
    for t, rows in enumerate(history):
        of = senders_of(rows, turn=t, memory=memory)
        assert attack.send(of).equal(history[max(0, t - lag)])
        memory = attack.remembered(of)


def test_stale_rows_are_the_first_for_ever():
    first = torch.ones(2, 3)
    attack = attacks.Stale()
    assert attack.send(senders_of(2 * first, turn=9, memory=attack.start(first))).equal(first)
    assert not attack.trains


def test_labels_are_flipped():
    assert attacks.LabelFlip().poison(torch.arange(10), classes=10).tolist() == list(range(9, -1, -1))


def test_every_attack_is_found_by_its_name_and_has_a_rule():
    names = attack_names()
    assert len(names) >= 15
    for name in names:
        declared = find_attack(name)
        assert declared.name == name
        assert declared.rule


@dataclass
class NotFrozen(SameToAll):
    def send(self, senders):
        return senders.rows


def test_what_is_no_attack_is_refused_by_name():
    with pytest.raises(UnknownAttack, match=r"no attack 'alei'.*Did you mean 'alie'"):
        find_attack("alei")
    with pytest.raises(InvalidAttack, match="frozen dataclass"):
        find_attack(f"{__name__}:NotFrozen")
    with pytest.raises(InvalidAttack, match="got complete"):
        find_attack(f"{__name__}:complete")
    with pytest.raises(SettingError, match="ipm: factor is out of range"):
        attacks.IPM(factor=-1.0)
