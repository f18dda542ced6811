"""AD-PSGD on rows, against the arithmetic of its paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import ADPSGD, Message
from gossipfl.settings import TrainingSettings
from gossipfl.training import NodeData, Nodes, Trainer
from tests.gossipfl.training.small_tasks import blobs, task_of

SHARED, SIZE, RATE = 3, 5, 0.1


def nodes_of(seed: int, count: int = 4) -> Nodes:
    generator = torch.Generator().manual_seed(seed)
    start = Nodes.start(torch.randn(count, SIZE, dtype=torch.float64, generator=generator))
    return replace(start, ages=torch.randint(0, 9, (count,), generator=generator), steps=start.steps + 7)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_step_is_that_of_the_model_it_was_begun_at_and_lands_on_the_mean(seed: int) -> None:
    """x ← (x + y)/2 − η g(x̂), with g(x) = A x + b of each node, x̂ any earlier model of its own."""
    nodes, others, begun = (nodes_of(seed + k) for k in range(3))
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(4, SIZE, SIZE, dtype=torch.float64, generator=generator)

    def update(nodes: Nodes) -> Nodes:
        step = RATE * torch.einsum("bij,bj->bi", A, nodes.rows)
        return replace(nodes, rows=nodes.rows - step, ages=nodes.ages + 1, steps=nodes.steps + 1)

    rule = ADPSGD()
    after = rule.on_answer(nodes, rule.emit(others, shared_size=SHARED), begun, update=update)
    x, y, x_begun = nodes.rows.numpy(), others.rows.numpy(), begun.rows.numpy()
    step = RATE * np.einsum("bij,bj->bi", A.numpy(), x_begun)
    expected = x.copy()
    expected[:, :SHARED] = (x[:, :SHARED] + y[:, :SHARED]) / 2
    np.testing.assert_allclose(after.rows.numpy(), expected - step, rtol=1e-12, atol=1e-12)
    assert after.ages.tolist() == (torch.maximum(nodes.ages, others.ages) + 1).tolist()
    assert after.steps.tolist() == (nodes.steps + 1).tolist()
    mean = rule.on_receipt(nodes, rule.emit(others, shared_size=SHARED), update=update)
    np.testing.assert_allclose(mean.rows.numpy(), expected, rtol=0, atol=1e-15)
    assert torch.equal(mean.steps, nodes.steps)


def test_without_neighbours_that_differ_it_is_stochastic_gradient_descent() -> None:
    """Momentum, schedules and local steps included: a mean with oneself leaves plain training."""
    task, data = task_of("perceptron"), blobs()
    node_data = NodeData.partitioned(data.train_inputs, data.train_targets, [np.arange(200)])
    trainer = Trainer.of(
        task, node_data, TrainingSettings(momentum=0.9, batch_size=16, local_steps=2, schedule="inverse")
    )

    def update(nodes: Nodes) -> Nodes:
        return trainer.train(nodes, np.array([0]))[0]

    alone = averaging = Nodes.start(
        task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size
    )
    rule, size = ADPSGD(), trainer.layout.shared_size
    for _ in range(5):
        alone = update(alone)
        message = Message(shared=averaging.rows[:, :size], ages=averaging.ages)
        averaging = rule.on_answer(averaging, message, averaging, update=update)
    torch.testing.assert_close(averaging.rows, alone.rows, rtol=1e-5, atol=1e-6)
    assert torch.equal(averaging.ages, alone.ages)
    assert torch.equal(averaging.steps, alone.steps)
