"""Effects of merges on rows, and their tally."""

import math

import numpy as np
import torch

from gossipfl.algorithms.merge_effects import Effects, EffectTally, merge_effects
from gossipfl.tasks.samples import stacked, take
from tests.sims.worlds import blobs


def test_effects_are_differences_of_losses_on_each_ones_own_samples():
    task = blobs()
    data = task.dataset()
    rows = torch.randn(3, task.layout.size, generator=torch.Generator().manual_seed(0))
    merged = torch.lerp(rows, rows.flip(0), 0.5)
    parts = [slice(0, 8), slice(8, 16), slice(20, 28)]
    batches = [take((data.test_inputs, data.test_targets), part) for part in parts]
    found = merge_effects(
        task,
        rows,
        merged,
        stacked([inputs for inputs, _ in batches]),
        stacked([targets for _, targets in batches]),
    )
    for i, (inputs, targets) in enumerate(batches):
        before, after = (
            task.evaluate(each[i : i + 1], inputs, targets)["loss"][0] for each in (rows, merged)
        )
        assert math.isclose(found[i], before - after, abs_tol=1e-6)
    assert float(found.abs().max()) > 0.01
    assert abs(float(found[1])) < 1e-6  # merged with itself


def test_a_loss_that_is_not_finite_has_no_effect():
    task = blobs()
    data = task.dataset()
    rows = task.initial_row()[None]
    ruined = torch.full_like(rows, math.nan)
    inputs, targets = data.test_inputs[None, :4], data.test_targets[None, :4]
    assert math.isnan(merge_effects(task, rows, ruined, inputs, targets)[0])
    tally = EffectTally()
    tally.add("A", math.nan)
    tally.add("A", -math.inf)
    assert tally.of("A") is None


def test_the_tally_is_a_mean_and_its_standard_error():
    values = np.random.default_rng(0).normal(size=20)
    tally = EffectTally()
    for value in values:
        tally.add("A", value)
    found = tally.of("A")
    assert found.merges == 20
    assert math.isclose(found.mean, values.mean())
    assert math.isclose(found.standard_error, values.std(ddof=1) / math.sqrt(20))
    assert math.isnan(Effects().with_one_more(1.0).standard_error)


def test_the_tally_forgets_who_was_heard_longest_ago():
    tally = EffectTally(most=3)
    for sender in ("A", "B", "C", "A", "D"):
        tally.add(sender, 1.0)
    assert len(tally) == 3
    assert tally.of("B") is None
    assert tally.of("A").merges == 2
