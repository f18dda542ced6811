"""Guarantees of training steps on sampled batches, against Opacus and published figures."""

from __future__ import annotations

import importlib.util
import math

import pytest

from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.sampled_gaussian import ORDERS, Mechanism, losses, most_steps, sampled_epsilon

DELTA = 1e-5


def test_below_the_published_bound_of_the_moments_accountant():
    """Abadi et al. (CCS 2016), section 3.2: q = .01, σ = 4, 10,000 steps, δ = 1e-5: ε = 1.26."""
    assert 0.9 < sampled_epsilon({Mechanism(0.01, 4.0): 10_000}, delta=DELTA) < 1.26


def test_whole_batches_are_gaussian_mechanisms():
    found = sampled_epsilon({Mechanism(1.0, 5.0): 4}, delta=DELTA)
    exact = gaussian_guarantee(math.sqrt(4) / 5, delta=DELTA)
    assert exact.epsilon <= found <= exact.epsilon_by_rdp * 1.001
    assert found == pytest.approx(sampled_epsilon({}, delta=DELTA, shift=2 / 5))


def test_steps_of_several_kinds_add_up():
    one, other = Mechanism(0.05, 1.0), Mechanism(0.2, 3.0)
    both = sampled_epsilon({one: 50, other: 20}, delta=DELTA)
    alone = [sampled_epsilon({one: 50}, delta=DELTA), sampled_epsilon({other: 20}, delta=DELTA)]
    assert max(alone) < both < sum(alone)
    assert sampled_epsilon({}, delta=DELTA) == 0


def test_the_most_steps_of_a_budget():
    mechanism = Mechanism(0.1, 1.2)
    for spent in ({}, {mechanism: 30}, {Mechanism(0.5, 4.0): 7}):
        count = most_steps(mechanism, spent, epsilon=4.0, delta=DELTA)

        def after(further, spent=spent):
            return sampled_epsilon({**spent, mechanism: spent.get(mechanism, 0) + further}, delta=DELTA)

        assert after(count) <= 4.0 < after(count + 1)
    assert most_steps(mechanism, {mechanism: 10**6}, epsilon=4.0, delta=DELTA) == 0


needs_opacus = pytest.mark.skipif(
    importlib.util.find_spec("opacus") is None, reason="opacus is not installed"
)
CASES = [(0.05, 1.1, 100), (0.01, 0.8, 2000), (0.3, 5.0, 400), (1.0, 4.0, 10)]


@needs_opacus
@pytest.mark.parametrize(("rate", "multiplier", "steps"), CASES)
def test_divergences_at_whole_orders_are_those_of_opacus(rate, multiplier, steps):
    from opacus.accountants.analysis.rdp import compute_rdp

    whole = [order for order in ORDERS if float(order).is_integer()]
    theirs = compute_rdp(q=rate, noise_multiplier=multiplier, steps=1, orders=whole)
    ours = [
        loss
        for order, loss in zip(ORDERS, losses(Mechanism(rate, multiplier)), strict=True)
        if order in whole
    ]
    assert ours == pytest.approx(theirs, rel=1e-9)


@needs_opacus
@pytest.mark.parametrize(("rate", "multiplier", "steps"), CASES)
def test_as_the_accountant_of_opacus(rate, multiplier, steps):
    """Equal but for the broken orders, of which dp-accounting bounds the divergence from above."""
    from opacus.accountants.rdp import RDPAccountant

    accountant = RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=multiplier, sample_rate=rate)
    theirs = accountant.get_epsilon(DELTA)
    assert (
        theirs * (1 - 1e-9)
        <= sampled_epsilon({Mechanism(rate, multiplier): steps}, delta=DELTA)
        <= theirs * 1.002
    )
