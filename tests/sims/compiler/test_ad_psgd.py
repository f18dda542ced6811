"""AD-PSGD: atomic pairwise averaging where messages take no time, stale gradients where they do."""

import numpy as np
import pytest
import torch

from sims.compiler.operations import ON_ANSWER, ON_RECEIPT
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from tests.sims.worlds import SECOND, conditions, small, world_of

N, RATE = 16, 0.1
QUADRATIC = (
    "algorithm.name=ad_psgd",
    f"population.nodes={N}",
    "task.name=tests.sims.worlds:quadratic",
    f"task.options={{nodes={N}}}",
    "task.partition=contiguous",
    f"training.learning_rate={RATE}",
    "topology.name=complete",
)


def run(scenario, rounds, *, first=None):
    """Final models, and the pairs (who stepped, with whom) in order."""
    world = world_of(scenario)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    if first is not None:
        engine.table.rows[:N] = torch.from_numpy(first)[:, None]
    pairs = []
    for window in timeline.windows(rounds * SECOND):
        asked = window.node[window.kind == ON_RECEIPT].tolist()
        pairs += zip(window.node[window.kind == ON_ANSWER].tolist(), asked, strict=False)
        timeline.kept(engine.execute(window))
    return engine.rows()[:, 0].numpy().copy(), pairs


def as_in_the_paper(first, pairs):
    """Lian et al. 2018, Algorithm 1, one iteration a pair: gradient at xᵢ, both take the mean, i steps."""
    x, b = first.copy(), np.arange(N) - (N - 1) / 2
    for i, j in pairs:
        gradient = x[i] - b[i]
        x[i] = x[j] = (x[i] + x[j]) / 2
        x[i] -= RATE * gradient
    return x


@pytest.mark.parametrize("phase", ["random", "together"])
def test_without_delay_it_is_the_atomic_algorithm_of_the_paper(phase):
    first = np.random.default_rng(0).normal(size=N)
    came, pairs = run(small(*QUADRATIC, f"network.phase={phase}"), 30, first=first)
    assert len(pairs) >= 29 * N
    np.testing.assert_allclose(came, as_in_the_paper(first, pairs), rtol=1e-12, atol=1e-13)


def test_without_delay_or_training_the_mean_is_preserved():
    first = np.random.default_rng(1).normal(size=N)
    came, _ = run(small(*QUADRATIC, "training.enabled=false"), 60, first=first)
    assert came.mean() == pytest.approx(first.mean(), abs=1e-13)
    assert came.std() < 1e-6 * first.std()


def test_a_gradient_is_that_of_the_model_it_was_begun_at():
    """Two nodes and a round trip of 0.8: both begin at their own models, and average with stale ones."""
    scenario = small(
        *QUADRATIC,
        "population.nodes=2",
        "task.options={nodes=2}",
        "network.phase=together",
        "network.delay.seconds=0.4",
    )
    world = world_of(scenario)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    x, b = np.array([3.0, -1.0]), np.array([-0.5, 0.5])
    engine.table.rows[:2] = torch.from_numpy(x)[:, None]
    for window in timeline.windows(int(0.9 * SECOND)):
        timeline.kept(engine.execute(window))
    begun = x.copy()
    # At 0.4 both are asked: they answer with what they have, and take the mean with what came.
    answers = x.copy()
    x = (x + x[::-1]) / 2
    # At 0.8 both answers are there.
    x = (x + answers[::-1]) / 2 - RATE * (begun - b)
    np.testing.assert_allclose(engine.rows()[:, 0].numpy(), x, rtol=1e-14)


def test_a_clock_that_rings_during_training_is_not_heard():
    scenario = small(*QUADRATIC, "training.step_seconds=2.5")
    timeline = Timeline(conditions(scenario))
    for window in timeline.windows(60 * SECOND):
        timeline.kept(np.full(len(window.pending), -1))
    assert timeline.counts["sent"] == pytest.approx(2 * N * 60 / 3, rel=0.1)


def test_with_delay_and_loss_it_still_finds_the_optimum_on_average():
    scenario = small(
        *QUADRATIC,
        "network.loss=0.1",
        "network.delay={kind='lognormal',median=0.3,sigma=0.5}",
        "training.schedule=inverse",
        "training.decay_age=50",
    )
    came, _ = run(scenario, 800)
    assert abs(came.mean()) < 0.5
    assert np.abs(came).max() < 1.5
