"""Private training against gradients of samples one by one, against Opacus, and in simulations."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.errors import InvalidTask, SettingError
from gossipfl.rows import load_row
from gossipfl.settings import SamplePrivacySettings
from gossipfl.tasks import Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings
from gossipfl.training.step_draws import SeededDraws, StepOfDraws
from tests.gossipfl.training.small_tasks import blobs, perceptron, task_of

CLIP, MULTIPLIER, BATCH = 0.7, 1.3, 12
PRIVACY = SamplePrivacySettings(clip=CLIP, noise_multiplier=MULTIPLIER)
PARTS = [np.arange(0, 90), np.arange(90, 100), np.arange(100, 250)]  # the second has fewer than a batch


def trainer_of(task, **changes):
    data = blobs()
    given = {"learning_rate": 0.1, "batch_size": BATCH, "privacy": PRIVACY, "seed": 5, **changes}
    of_all = NodeData.partitioned(data.train_inputs, data.train_targets, PARTS)
    return Trainer.of(task, of_all, TrainingSettings(**given))


def nodes_of(task, count=3):
    rows = torch.stack([task.initial_row(number) + 0.01 * number for number in range(count)])
    return replace(Nodes.start(rows), steps=torch.arange(count))


def by_hand(task, row, samples, noise):
    """Σ clip(∇ℓ_s) + noise over the expected batch, sample by sample, by torch's own backward pass."""
    module, total = task.build_module().train(), torch.zeros(task.layout.trainable_size)
    load_row(module, task.layout, row)
    data = blobs()
    for sample in samples:
        module.zero_grad()
        output = module(data.train_inputs[sample : sample + 1])
        nn.functional.cross_entropy(output, data.train_targets[sample : sample + 1]).backward()
        gradient = torch.zeros_like(total)
        for entry in task.layout.entries:
            if entry.group != "untrained":
                found = module.get_parameter(entry.name).grad
                gradient[entry.offset : entry.offset + entry.size] = found.flatten()
        total += gradient * min(1.0, CLIP / (float(gradient.norm()) + 1e-6))
    return total + noise


@pytest.mark.parametrize("model", ["perceptron", "convolutional", "recurrent", "tied", "frozen"])
def test_the_gradient_is_that_of_samples_one_by_one(model):
    task = task_of(model)
    trainer, nodes = trainer_of(task), nodes_of(task)
    after, gradients = trainer.gradient(nodes, np.arange(3))
    counts = np.array([len(part) for part in PARTS])
    rates = np.minimum(BATCH / counts, 1.0)
    drawn = SeededDraws(5).next(np.arange(3), nodes.steps.numpy(), rates=rates)
    sampled, noise = drawn.sampled(counts, rates), drawn.noise(task.layout.trainable_size)
    for node, part in enumerate(PARTS):
        own = (noise[node] * MULTIPLIER * CLIP).float()
        expected = by_hand(task, nodes.rows[node], part[sampled[node]], own) / min(BATCH, len(part))
        torch.testing.assert_close(gradients[node], expected, rtol=0, atol=2e-5)
    assert torch.equal(after.rows, nodes.rows)
    assert after.steps.tolist() == [1, 2, 3]


@pytest.mark.parametrize("model", ["perceptron", "dropout"])
def test_many_rows_train_as_each_does_alone(model):
    task = task_of(model)
    trainer, nodes = trainer_of(task, local_steps=3), nodes_of(task)
    together, _ = trainer.train(nodes, np.arange(3))
    for node in range(3):
        alone, _ = trainer.train(nodes.select(slice(node, node + 1)), np.array([node]))
        torch.testing.assert_close(alone.rows[0], together.rows[node], rtol=0, atol=1e-5)


def test_no_sample_moves_the_sum_by_more_than_the_clip():
    """Take the noise and one sample out: what is left differs by at most C."""
    task = task_of("perceptron")
    data, row = blobs(), task.initial_row()[None]
    draws = _Given(torch.zeros(1, task.layout.trainable_size))

    def total(samples):
        own = NodeData.of_one_node(data.train_inputs[samples], data.train_targets[samples])
        settings = TrainingSettings(batch_size=1000, privacy=PRIVACY)
        trainer = replace(Trainer.of(task, own, settings), draws=draws)
        return trainer.gradient(Nodes.start(row), np.zeros(1, dtype=np.int64))[1] * len(samples)

    everyone = np.arange(40)
    shifts = [float((total(everyone) - total(np.delete(everyone, each))).norm()) for each in range(0, 40, 4)]
    assert max(shifts) <= CLIP + 1e-4
    assert max(shifts) > CLIP / 2


class _Given:
    """All samples, and noise that is given."""

    def __init__(self, noise):
        self.noise = noise

    def next(self, numbers, steps, *, rates):
        assert (rates == 1).all()
        return StepOfDraws(keys=torch.zeros(len(numbers), dtype=torch.int64), normals=lambda *_: self.noise)


def test_batches_are_drawn_by_poisson_sampling_and_drawn_again_from_the_seed():
    counts, rates, steps = np.array([200]), np.array([0.1]), 400
    inside = np.zeros((steps, 200))
    for step in range(steps):
        drawn = [
            SeededDraws(3).next(np.array([7]), np.array([step]), rates=rates).sampled(counts, rates)[0]
            for _ in range(2)
        ]
        assert np.array_equal(*drawn)
        inside[step, drawn[0]] = 1
    sizes = inside.sum(axis=1)
    assert abs(sizes.mean() - 20) < 4 * np.sqrt(18 / steps)
    assert 0.8 < sizes.var() / 18 < 1.25  # binomial; a fixed size has none
    assert abs(inside.mean(axis=0) - 0.1).max() < 5 * np.sqrt(0.09 / steps)
    correlation = np.corrcoef(inside[:-1].ravel(), inside[1:].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(inside.size)


def test_a_batch_without_samples_is_noise():
    task = task_of("perceptron")
    trainer, nodes = trainer_of(task, batch_size=1), nodes_of(task)
    empty = [step for step in range(60) if not _sizes(trainer, 0, step)]
    assert empty
    nodes = replace(nodes.select(slice(0, 1)), steps=torch.tensor(empty[:1]))
    after, losses = trainer.train(nodes, np.array([0]))
    assert losses.item() == 0
    assert after.rows.isfinite().all()
    assert not torch.equal(after.rows, nodes.rows)


def _sizes(trainer, node, step):
    counts = trainer.data.counts[[node]]
    rates = np.minimum(1 / counts, 1.0)
    drawn = SeededDraws(5).next(np.array([node]), np.array([step]), rates=rates)
    return len(drawn.sampled(counts, rates)[0])


def test_what_mixes_samples_is_refused_by_name():
    with pytest.raises(InvalidTask, match="1 is a BatchNorm1d"):
        trainer_of(task_of("batch_norm"))
    with pytest.raises(InvalidTask, match="InstanceNorm1d"):
        trainer_of(Task(name="norm", data=blobs, model=_with_statistics))
    with pytest.raises(InvalidTask, match="seen"):
        trainer_of(Task(name="counting", data=blobs, model=_Counting))
    with pytest.raises(InvalidTask, match="transform"):
        trainer_of(Task(name="mixed", data=blobs, model=perceptron, transform=lambda x, y, _: (x.flip(0), y)))
    task = task_of("perceptron")
    with pytest.raises(SettingError, match="losses"):
        trainer_of(task).losses(nodes_of(task), np.arange(3))


def _with_statistics():
    norm = nn.InstanceNorm1d(4, track_running_stats=True)
    return nn.Sequential(nn.Unflatten(1, (4, 4)), norm, nn.Flatten(), nn.Linear(16, 3))


class _Counting(nn.Module):
    """Keeps the mean of what it has seen."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 3)
        self.register_buffer("seen", torch.zeros(16))

    def forward(self, inputs):
        self.seen.mul_(0.9).add_(inputs.detach().mean(0), alpha=0.1)
        return self.head(inputs - self.seen)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(SettingError, match="clip_norm"):
        TrainingSettings(privacy=PRIVACY, clip_norm=1.0)
    with pytest.raises(SettingError, match="secret"):
        SamplePrivacySettings(clip=1.0, noise_multiplier=1.0, epsilon=1.0, secret=False)


needs_opacus = pytest.mark.skipif(
    importlib.util.find_spec("opacus") is None, reason="opacus is not installed"
)


@needs_opacus
@pytest.mark.parametrize("model", ["perceptron", "convolutional"])
def test_as_opacus(model):
    """The same sampled batch and the same noise give the gradient that Opacus gives."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    task, data = task_of(model), blobs()
    module = task.build_module().train()
    load_row(module, task.layout, task.initial_row())
    wrapped = GradSampleModule(module)
    optimiser = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=0.1),
        noise_multiplier=MULTIPLIER,
        max_grad_norm=CLIP,
        expected_batch_size=40,
        generator=torch.Generator().manual_seed(1),
    )
    nn.functional.cross_entropy(wrapped(data.train_inputs[:40]), data.train_targets[:40]).backward()
    assert optimiser.pre_step()
    noise, expected = torch.zeros(1, task.layout.trainable_size), torch.zeros(task.layout.trainable_size)
    for entry in task.layout.entries:
        parameter = module.get_parameter(entry.name)
        place = slice(entry.offset, entry.offset + entry.size)
        expected[place] = parameter.grad.flatten()
        noise[0, place] = (parameter.grad * 40 - parameter.summed_grad).flatten() / (MULTIPLIER * CLIP)
    own = NodeData.of_one_node(data.train_inputs[:40], data.train_targets[:40])
    trainer = Trainer.of(task, own, TrainingSettings(batch_size=40, privacy=PRIVACY))
    trainer = replace(trainer, draws=_Given(noise.double()))
    nodes = Nodes.start(task.initial_row()[None])
    found = trainer.gradient(nodes, np.zeros(1, dtype=np.int64))[1][0]
    assert noise.std() > 0.8
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


CYCLIC = SamplePrivacySettings(clip=CLIP, noise_multiplier=MULTIPLIER, sampling="cyclic", bands=3)


def test_cyclic_batches_hold_each_sample_once_and_come_again():
    counts, draws = np.array([50]), SeededDraws(3, cyclic=True)
    rates = np.array([12 / 50])
    batches = [
        draws.next(np.array([0]), np.array([step]), rates=rates).sampled(counts, rates)[0]
        for step in range(10)
    ]
    assert [len(batch) for batch in batches[:5]] == [12, 12, 12, 12, 2]
    assert sorted(np.concatenate(batches[:5])) == list(range(50))
    assert all(np.array_equal(one, other) for one, other in zip(batches[:5], batches[5:], strict=True))


def test_steps_share_noise_as_the_factor_says():
    numbers, rates = np.array([0, 4]), np.array([0.5, 0.5])
    draws, alone = SeededDraws(3, cyclic=True, bands=3), SeededDraws(3)
    own = [alone.next(numbers, np.full(2, step), rates=rates).noise(7) for step in range(6)]
    for step in range(6):
        expected = own[step].clone()
        for k, weight in ((1, -1 / 2), (2, -1 / 8)):
            if step >= k:
                expected += weight * own[step - k]
        found = draws.next(numbers, np.full(2, step), rates=rates).noise(7)
        torch.testing.assert_close(found, expected)


def test_cyclic_training_of_many_rows_is_that_of_each_alone():
    task = task_of("perceptron")
    trainer, nodes = trainer_of(task, local_steps=4, privacy=CYCLIC), nodes_of(task)
    together, _ = trainer.train(nodes, np.arange(3))
    for node in range(3):
        alone, _ = trainer.train(nodes.select(slice(node, node + 1)), np.array([node]))
        torch.testing.assert_close(alone.rows[0], together.rows[node], rtol=0, atol=1e-5)
    with pytest.raises(SettingError, match="cyclic"):
        SamplePrivacySettings(clip=1.0, noise_multiplier=1.0, bands=2)
