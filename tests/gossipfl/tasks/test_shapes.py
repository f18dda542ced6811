"""Outputs and targets whose shapes do not fit are refused with both; metrics follow the loss."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch import nn
from torch.nn import functional

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task, Weighted
from gossipfl.tasks.metrics import accuracy, binary_accuracy, mean_absolute_error, r_squared
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(6, 4, generator=GENERATOR)
ALONE = np.zeros(1, dtype=np.int64)


def data_of(targets, inputs=INPUTS):
    return Dataset(train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets)


def task_of(model, loss, targets, inputs=INPUTS, **options):
    return Task(name="shapes", model=model, loss=loss, data=lambda: data_of(targets, inputs), **options)


def trainer_of(task, batch_size=6):
    data = task.dataset()
    nodes = NodeData.of_one_node(data.train_inputs, data.train_targets)
    return Trainer.of(task, nodes, TrainingSettings(batch_size=batch_size, learning_rate=0.5))


def column():
    return nn.Linear(4, 1)


def flat():
    return nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))


def pairs():
    return nn.Linear(4, 2)


def own_squares(outputs, targets):
    return ((outputs - targets) ** 2).mean()


def own_through_torch(outputs, targets):
    return 0.5 * functional.mse_loss(outputs, targets) + 0.1


def own_absolute(outputs, targets):
    return torch.abs(torch.sub(outputs * 2 + 1, 3 * targets)).mean()


class OwnModule(nn.Module):
    def forward(self, outputs, targets):
        return (targets.neg().add(outputs)).pow(2).mean()


LOSSES = [
    functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss,
    functional.binary_cross_entropy_with_logits, functional.soft_margin_loss, functional.poisson_nll_loss,
    functional.kl_div, functional.hinge_embedding_loss, nn.MSELoss(), nn.BCEWithLogitsLoss(),
    functools.partial(functional.huber_loss, delta=2.0), own_squares, own_through_torch, own_absolute,
    OwnModule(), lambda outputs, targets: functional.mse_loss(input=outputs, target=targets),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("model", "shape", "outputs"), [(column, (6,), r"\[\d, 1\]"), (flat, (6, 1), r"\[\d\]")]
)
def test_what_a_loss_would_broadcast_is_refused_with_both_shapes(loss, model, shape, outputs):
    task = task_of(model, loss, torch.ones(shape))
    targets = outputs.replace(", 1", "") if model is column else r"\[\d, 1\]"
    with pytest.raises(
        InvalidTask, match=rf"outputs {outputs} float32 and targets {targets} float32.*squeeze"
    ):
        trainer_of(task)
    with pytest.raises(InvalidTask, match=r"outputs.* and targets"):
        task.evaluate(task.initial_row()[None], INPUTS, torch.ones(shape))


class Named(nn.Module):
    """A column of outputs, in a dictionary or a tuple."""

    def __init__(self, *, key):
        super().__init__()
        self.layer, self.key = nn.Linear(4, 1), key

    def forward(self, inputs):
        return {"y": self.layer(inputs)} if self.key == "y" else (self.layer(inputs), inputs)


@pytest.mark.parametrize("key", ["y", 0])
@pytest.mark.parametrize("compare", [own_squares, own_absolute, functional.mse_loss])
def test_what_would_be_broadcast_is_found_within_outputs_of_any_form(key, compare):
    task = task_of(lambda: Named(key=key), lambda o, t: compare(o[key], t["z"]), {"z": torch.ones(6)})
    with pytest.raises(InvalidTask, match=r"outputs \[\d, 1\] float32 and targets \[\d\] float32.*squeeze"):
        trainer_of(task)


@pytest.mark.parametrize("loss", [own_squares, own_absolute])
@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_a_batch_that_happens_to_be_as_long_as_another_dimension_hides_nothing(loss, batch):
    task = task_of(pairs, loss, torch.ones(6))
    with pytest.raises(InvalidTask, match=r"outputs \[\d, 2\] float32 and targets \[\d\] float32"):
        trainer_of(task, batch_size=batch)


def test_cross_entropy_never_takes_a_batch_for_one_sample():
    with pytest.raises(InvalidTask, match=r"cross_entropy does not fit.*outputs \[2\].*binary_cross_entropy"):
        trainer_of(task_of(flat, functional.cross_entropy, torch.rand(6)))


def quantiles(outputs, targets):
    errors = targets - outputs
    return torch.maximum(0.1 * errors, -0.9 * errors).mean()


def pairwise_ranks(outputs, targets):
    wanted = torch.sign(targets[:, None] - targets[None, :])
    return functional.softplus(-wanted * (outputs[:, None] - outputs[None, :])).mean()


def masked(outputs, targets):
    values, mask = targets["values"], targets["mask"]
    return (((outputs - values) ** 2) * mask[:, None]).sum() / mask.sum()


@pytest.mark.parametrize(
    ("model", "loss", "targets"),
    [
        (pairs, quantiles, torch.rand(6, 1)),
        (flat, pairwise_ranks, torch.rand(6)),
        (pairs, masked, {"values": torch.rand(6, 2), "mask": torch.ones(6)}),
        (
            pairs,
            lambda o, t: functional.cross_entropy(o, t, weight=torch.tensor([1.0, 2.0])),
            torch.arange(6) % 2,
        ),
        (pairs, lambda o, t: ((o - functional.one_hot(t, 2)) ** 2).mean(), torch.arange(6) % 2),
        (pairs, lambda o, t: -(o.log_softmax(1)[range(len(t)), t]).mean(), torch.arange(6) % 2),
    ],
)
def test_what_is_meant_to_be_broadcast_is_not_refused(model, loss, targets):
    task = task_of(model, loss, targets, metrics={"zero": lambda outputs, targets: 0.0})
    nodes, losses = trainer_of(task).train(Nodes.start(task.initial_row()[None]), ALONE)
    module = task.build_module()
    assert losses[0].item() > 0
    assert torch.isfinite(nodes.rows).all()
    del module


@pytest.mark.parametrize(
    ("loss", "model", "targets", "names"),
    [
        (functional.cross_entropy, pairs, torch.arange(6) % 2, ["accuracy"]),
        (nn.CrossEntropyLoss(label_smoothing=0.1), pairs, torch.arange(6) % 2, ["accuracy"]),
        (functional.cross_entropy, pairs, torch.rand(6, 2).softmax(1), ["accuracy"]),
        (functional.binary_cross_entropy_with_logits, column, (torch.arange(6.0) % 2)[:, None], ["accuracy"]),
        (functional.binary_cross_entropy_with_logits, pairs, (torch.rand(6, 2) > 0.5).float(), ["accuracy"]),
        (functional.mse_loss, column, torch.rand(6, 1), ["r2", "mae"]),
        (nn.L1Loss(), flat, torch.rand(6), ["r2", "mae"]),
    ],
)
def test_metrics_follow_the_loss(loss, model, targets, names):
    task = task_of(model, loss, targets)
    rows = task.initial_row().repeat(3, 1)
    measured = task.evaluate(rows, INPUTS, targets)
    assert list(measured) == ["loss", *names]
    assert all(value.shape == (3,) and torch.isfinite(value).all() for value in measured.values())


def test_metrics_of_distributions_and_rates_are_of_these():
    wanted = torch.rand(6, 2, generator=GENERATOR).softmax(1)
    loss = nn.KLDivLoss(reduction="batchmean")
    task = task_of(lambda: nn.Sequential(nn.Linear(4, 2), nn.LogSoftmax(1)), loss, wanted)
    found = task.evaluate(task.initial_row()[None], INPUTS, wanted)
    module = task.build_module()
    assert found["accuracy"].item() == (module(INPUTS).argmax(1) == wanted.argmax(1)).float().mean().item()
    counts = torch.arange(6.0)[:, None]
    for loss, rates in ((nn.PoissonNLLLoss(), torch.exp), (nn.PoissonNLLLoss(log_input=False), lambda o: o)):
        task = task_of(column, loss, counts)
        found = task.evaluate(task.initial_row()[None], INPUTS, counts)
        expected = (rates(task.build_module()(INPUTS)) - counts).abs().mean().item()
        assert found["mae"].item() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_binary_model_has_accuracy_one():
    class Sign(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, inputs):
            return self.scale * inputs[:, :1]

    labels = (INPUTS[:, :1] > 0).float()
    task = task_of(Sign, functional.binary_cross_entropy_with_logits, labels)
    assert task.evaluate(task.initial_row()[None], INPUTS, labels)["accuracy"].item() == 1
    wrong = Task(name="wrong", model=Sign, data=lambda: data_of(labels), loss=own_squares)
    with pytest.raises(
        InvalidTask, match=r"accuracy does not fit.*outputs \[6, 1\].*targets \[6, 1\].*metrics"
    ):
        wrong.evaluate(wrong.initial_row()[None], INPUTS, labels)


def test_accuracy_of_positions_leaves_out_what_is_ignored():
    outputs = torch.randn(5, 3, 7, generator=GENERATOR)
    targets = torch.randint(0, 3, (5, 7), generator=GENERATOR)
    targets[0], targets[3, :4] = -100, -100
    task = task_of(pairs, functional.cross_entropy, torch.arange(6) % 2)
    kept = [(i, j) for i in range(5) for j in range(7) if targets[i, j] != -100]
    expected = sum(int(outputs[i, :, j].argmax() == targets[i, j]) for i, j in kept) / len(kept)
    assert task.metrics["accuracy"](outputs, targets).item() == pytest.approx(expected)
    last = outputs.movedim(1, -1)
    everything = [(i, j) for i in range(5) for j in range(7)]
    expected = sum(int(outputs[i, :, j].argmax() == targets[i, j]) for i, j in everything) / len(everything)
    assert accuracy(last, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 3), (9, 2, 4)])
def test_r_squared_is_that_of_scikit_learn(shape):
    outputs, targets = torch.randn(shape, generator=GENERATOR), torch.randn(shape, generator=GENERATOR)
    if len(shape) == 2 and shape[1] == 3:
        targets[:, 1] = 2.0
    expected = r2_score(targets.reshape(9, -1).double().numpy(), outputs.reshape(9, -1).double().numpy())
    assert r_squared(outputs, targets).item() == pytest.approx(expected, rel=1e-6)
    assert mean_absolute_error(outputs, targets).item() == pytest.approx(
        (outputs - targets).abs().mean().item()
    )


@pytest.mark.parametrize("metric", [r_squared, mean_absolute_error, binary_accuracy])
def test_metrics_never_broadcast(metric):
    with pytest.raises(InvalidTask, match=r"outputs \[6, 1\].*targets \[6\].*squeeze"):
        metric(torch.zeros(6, 1), torch.zeros(6))


def per_position():
    return nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (3, 2)))


def own_sequence_loss(outputs, targets):
    return functional.cross_entropy(outputs.movedim(1, -1).reshape(-1, 3), targets.reshape(-1))


@pytest.mark.parametrize("loss", [functional.cross_entropy, nn.CrossEntropyLoss(), own_sequence_loss])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_that_is_all_ignored_is_skipped(loss, rows):
    targets = torch.tensor([[0, 1]] + [[-100, -100]] * 5)
    task = task_of(per_position, loss, targets, metrics={"zero": lambda outputs, targets: 0.0})
    trainer = trainer_of(task, batch_size=1)
    start = Nodes.start(task.initial_row().repeat(rows, 1))
    nodes, seen = start, []
    for _ in range(6):
        before = nodes.rows
        nodes, losses = trainer.train(nodes, np.zeros(rows, dtype=np.int64))
        assert torch.isfinite(nodes.rows).all()
        assert torch.isfinite(losses).all()
        seen.append(bool((nodes.rows != before).any()))
    assert sum(seen) == 1  # one sample of six counts
    assert torch.isfinite(task.evaluate(start.rows, INPUTS[1:], targets[1:])["loss"]).all()


def test_targets_that_are_all_ignored_are_refused():
    with pytest.raises(InvalidTask, match="every target is ignored"):
        trainer_of(task_of(per_position, functional.cross_entropy, torch.full((6, 2), -100)))


@pytest.mark.parametrize("wrong", [2, -1, 7])
@pytest.mark.parametrize(
    "loss", [functional.cross_entropy, lambda o, t: functional.nll_loss(o.log_softmax(1), t)]
)
def test_a_class_without_an_output_is_refused_before_training(wrong, loss):
    targets = torch.arange(6) % 2
    targets[5] = wrong
    with pytest.raises(InvalidTask, match=r"no output for; expected 0 … 1, or -100 to ignore; got"):
        trainer_of(task_of(pairs, loss, targets), batch_size=2)


@pytest.mark.parametrize("loss", [functional.mse_loss, own_squares])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_weight_counts_like_so_many_samples(loss, rows):
    values = torch.randn(6, 1, generator=GENERATOR)
    weights = torch.tensor([1.0, 2, 0, 1, 3, 0])
    several = torch.repeat_interleave(torch.arange(6), weights.long())
    weighted = task_of(column, loss, Weighted(values, weights), metrics={"mae": mean_absolute_error})
    repeated = task_of(column, loss, values[several], INPUTS[several], metrics={"mae": mean_absolute_error})
    outcomes = []
    for task, size in ((weighted, 6), (repeated, 7)):
        nodes = Nodes.start(task.initial_row().repeat(rows, 1))
        nodes, losses = trainer_of(task, batch_size=size).train(
            nodes, np.zeros(rows, dtype=np.int64), steps=3
        )
        outcomes.append((nodes.rows, losses))
    assert torch.allclose(outcomes[0][0], outcomes[1][0], atol=1e-6)
    assert torch.allclose(outcomes[0][1], outcomes[1][1], atol=1e-6)


def test_weights_that_cannot_be_are_refused():
    for weights in (torch.tensor([1.0, -1, 1, 1, 1, 1]), torch.zeros(6), torch.ones(6, 1)):
        with pytest.raises(InvalidTask, match="weights of the train targets"):
            data_of(Weighted(torch.ones(6), weights))
