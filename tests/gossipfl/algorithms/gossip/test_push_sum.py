"""Push-sum on rows, against sums and weights written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import PushSum
from gossipfl.training import Nodes

SHARED, SIZE = 3, 5


def nodes_of(seed: int, count: int = 4) -> Nodes:
    generator = torch.Generator().manual_seed(seed)
    start = PushSum().start(Nodes.start(torch.randn(count, SIZE, dtype=torch.float64, generator=generator)))
    weight = torch.rand(count, dtype=torch.float64, generator=generator) + 0.1
    ages = torch.randint(0, 9, (count,), generator=generator)
    return replace(start, auxiliary={"weight": weight}, ages=ages)


def mass(nodes: Nodes) -> torch.Tensor:
    """Sums and weights, ``[B, SHARED + 1]``."""
    weight = nodes.auxiliary["weight"][:, None]
    return torch.cat([weight * nodes.rows[:, :SHARED], weight], dim=1)


def identity(nodes: Nodes) -> Nodes:
    return nodes


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_half_of_the_mass_goes_and_all_of_it_arrives(seed: int) -> None:
    rule, nodes, others = PushSum(), nodes_of(seed), nodes_of(seed + 1)
    kept = rule.on_clock(nodes, shared_size=SHARED, update=identity)
    share = rule.emit(kept, shared_size=SHARED)
    sent = torch.cat(
        [share.carried["weight"][:, None] * share.shared, share.carried["weight"][:, None]], dim=1
    )
    torch.testing.assert_close(mass(kept), mass(nodes) / 2, rtol=1e-15, atol=1e-16)
    torch.testing.assert_close(sent, mass(nodes) / 2, rtol=1e-15, atol=1e-16)
    after = rule.on_receipt(others, share, update=identity)
    torch.testing.assert_close(mass(after), mass(others) + sent, rtol=1e-14, atol=1e-15)
    assert torch.equal(after.rows[:, SHARED:], others.rows[:, SHARED:])
    assert torch.equal(after.ages, torch.maximum(others.ages, nodes.ages))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_training_step_is_a_step_of_the_sum_or_of_the_model(seed: int) -> None:
    """s ← s − η g(s/w), and what stays local takes the step as it is (Assran et al. 2019)."""
    nodes = nodes_of(seed)
    gradient = torch.randn(4, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def update(nodes: Nodes) -> Nodes:
        return replace(nodes, rows=nodes.rows - 0.1 * gradient, ages=nodes.ages + 1, steps=nodes.steps + 1)

    after = PushSum().on_clock(nodes, shared_size=SHARED, update=update)
    step = torch.cat([0.1 * gradient[:, :SHARED], torch.zeros(4, 1)], dim=1)
    torch.testing.assert_close(2 * mass(after), mass(nodes) - step, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(after.rows[:, SHARED:], (nodes.rows - 0.1 * gradient)[:, SHARED:])
    of_the_model = PushSum(steps_of="model").on_clock(nodes, shared_size=SHARED, update=update)
    torch.testing.assert_close(of_the_model.rows, nodes.rows - 0.1 * gradient, rtol=1e-15, atol=1e-15)
    assert torch.equal(of_the_model.auxiliary["weight"], nodes.auxiliary["weight"] / 2)
    assert torch.equal(after.ages, nodes.ages + 1)
    assert torch.equal(after.steps, nodes.steps + 1)


def test_a_share_that_comes_back_restores_its_sender() -> None:
    rule, nodes = PushSum(), nodes_of(3)
    kept = rule.on_clock(nodes, shared_size=SHARED, update=identity)
    back = rule.on_receipt(kept, rule.emit(kept, shared_size=SHARED), update=identity)
    assert torch.equal(back.rows, nodes.rows)
    assert torch.equal(back.auxiliary["weight"], nodes.auxiliary["weight"])


def test_shares_on_a_directed_ring_find_the_mean() -> None:
    """Each node writes to one and hears from another: plain averages of what comes would not find it so."""
    rule = PushSum()
    nodes = rule.start(Nodes.start(torch.arange(5.0, dtype=torch.float64)[:, None].repeat(1, SIZE)))
    for _ in range(200):
        nodes = rule.on_clock(nodes, shared_size=SHARED, update=identity)
        share = rule.emit(nodes, shared_size=SHARED)
        turned = replace(
            share,
            shared=share.shared.roll(1, 0),
            carried={"weight": share.carried["weight"].roll(1)},
            ages=share.ages.roll(1),
        )
        nodes = rule.on_receipt(nodes, turned, update=identity)
    assert nodes.rows[:, :SHARED].flatten().tolist() == pytest.approx([2.0] * 15, abs=1e-12)
