"""Any loss with any outputs and targets: refused by name, or the number that each sample alone gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, rehearse


def own_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


def own_products(outputs: Tensor, targets: Tensor) -> Tensor:
    return -(outputs * targets).mean()


def own_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.nll_loss(outputs.log_softmax(1), targets)


def own_flat(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs.flatten(), targets.flatten())


LOSSES = [
    functional.cross_entropy, functional.nll_loss, functional.multi_margin_loss, functional.mse_loss,
    functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss,
    functional.binary_cross_entropy_with_logits, functional.binary_cross_entropy, functional.soft_margin_loss,
    functional.multilabel_soft_margin_loss, functional.kl_div, functional.poisson_nll_loss,
    functional.hinge_embedding_loss, own_squares, own_products, own_entropy, own_flat,
    nn.CrossEntropyLoss(label_smoothing=0.1), nn.BCEWithLogitsLoss(), nn.MSELoss(),
]  # fmt: skip
DTYPES = [torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool, torch.float16]


class Shaped(nn.Module):
    """A linear layer whose outputs have a given shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(3, int(np.prod(shape, dtype=int)))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs).reshape(len(inputs), *self.shape)


shapes = st.lists(st.integers(1, 4), max_size=2).map(tuple)


@st.composite
def drawn(draw):
    outputs = draw(shapes)
    alike = [outputs, outputs[1:], (*outputs, 1), outputs[:-1], (1, *outputs)]
    targets = draw(st.one_of(st.sampled_from(alike), shapes))
    return {
        "loss": draw(st.sampled_from(LOSSES)),
        "outputs": outputs,
        "targets": targets,
        "dtype": draw(st.sampled_from(DTYPES)),
        "samples": draw(st.integers(1, 5)),
        "rows": draw(st.sampled_from([1, 2])),
        "highest": draw(st.integers(1, 4)),
        "lowest": draw(st.sampled_from([0, 0, 0, -1, -100])),
        "seed": draw(st.integers(0, 100)),
    }


def check(case):
    generator = torch.Generator().manual_seed(case["seed"])
    n, dtype, low = case["samples"], case["dtype"], case["lowest"]
    inputs = torch.randn(n, 3, generator=generator)
    whole = torch.randint(
        low if dtype.is_signed else 0, case["highest"], (n, *case["targets"]), generator=generator
    )
    targets = whole.to(dtype)
    task = Task(
        name="any", model=lambda: Shaped(case["outputs"]), loss=case["loss"],
        data=lambda: Dataset(train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets),
    )  # fmt: skip
    try:
        data = task.dataset()
        trainer = Trainer.of(
            task, NodeData.of_one_node(inputs, targets), TrainingSettings(batch_size=n, learning_rate=0.1)
        )
        rehearse(task, trainer, data.test_inputs, data.test_targets)
        rows = task.initial_row().repeat(case["rows"], 1)
        nodes, losses = trainer.train(Nodes.start(rows), np.zeros(case["rows"], dtype=np.int64))
    except InvalidTask as error:
        assert "Traceback" not in str(error)
        return "refused"
    module = task.build_module()
    with torch.no_grad():
        for entry in task.layout.entries:
            part = rows[0][entry.offset : entry.offset + entry.size].reshape(entry.shape)
            dict(module.named_parameters())[entry.name].copy_(part)
    outputs = module(inputs)
    each = [case["loss"](outputs[i : i + 1], targets[i : i + 1]) for i in range(n)]
    kept = torch.tensor([_counted(case["loss"], targets[i]) for i in range(n)])
    alone = torch.stack(each).nan_to_num() if (kept == 0).any() else torch.stack(each)
    expected = (alone * kept).sum() / kept.sum() if kept.sum() else torch.zeros(())
    tolerance = 1e-2 if dtype is torch.float16 else 1e-4  # some losses compute in the dtype of the targets
    assert losses.tolist() == pytest.approx(
        [expected.item()] * case["rows"], rel=tolerance, abs=tolerance / 10
    )
    gradients = torch.autograd.grad(
        expected, list(module.parameters()), allow_unused=True, materialize_grads=True
    )
    descended = rows[0] - 0.1 * torch.cat([gradient.reshape(-1) for gradient in gradients])
    # Torch's own gradient may be 0 · ∞, such as that of soft_margin_loss where margins are large.
    assert torch.allclose(
        nodes.rows, descended.expand_as(nodes.rows), rtol=tolerance, atol=tolerance / 10, equal_nan=True
    )
    return "trained"


def _counted(loss: object, target: Tensor) -> int:
    """How many classes of a sample count."""
    ignoring = loss in {functional.cross_entropy, functional.nll_loss, own_entropy} or isinstance(
        loss, nn.CrossEntropyLoss
    )
    if not ignoring or target.is_floating_point():
        return 1
    return int((target != -100).sum())


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn())
def test_any_loss_and_targets(case):
    check(case)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn())
def test_five_thousand_losses_and_targets(case):
    check(case)


def test_the_search_reaches_both_ends():
    good = {"outputs": (3,), "targets": (), "dtype": torch.int64, "samples": 4, "rows": 2,
            "highest": 3, "lowest": 0, "seed": 0, "loss": functional.cross_entropy}  # fmt: skip
    assert check(good) == "trained"
    assert check({**good, "loss": functional.mse_loss}) == "refused"
    assert check({**good, "loss": functional.mse_loss, "targets": (3,), "dtype": torch.float32}) == "trained"
    unsigned = {**good, "outputs": (), "loss": functional.soft_margin_loss, "dtype": torch.uint8}
    assert check(unsigned) == "refused"
    assert check({**unsigned, "dtype": torch.float32, "lowest": -1}) == "trained"
