"""Graphs that end in scores of classes: those that call our kernel, and what is left as it is."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from gossipfl.kernels.building import has_compiler
from gossipfl.kernels.scores import OPERATOR
from gossipfl.tasks.metrics import class_accuracy
from sims.engine import score_passes
from sims.engine.programme import Programme
from sims.engine.written_graphs import read, written

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")

aten = torch.ops.aten
SAMPLES, STEPS, WIDTH, CLASSES = 60, 7, 24, 130


class Model(nn.Module):
    """A layer of steps that come second, first, or not at all; classes last, or second."""

    def __init__(self, order, bias):
        super().__init__()
        self.order, self.last = order, nn.Linear(WIDTH, CLASSES, bias=bias)

    def forward(self, inputs):
        if self.order == "no steps":
            return self.last(inputs[:, 0])
        if self.order == "steps first":
            return self.last(inputs.transpose(0, 1).contiguous()).permute(1, 2, 0)
        return self.last(inputs).mT


def given(order, *, rows, bias=True, dtype=torch.float32):
    """A function of rows and samples, and its arguments: some targets are ignored."""
    model = Model(order, bias)
    generator = torch.Generator().manual_seed(0)
    shapes = {name: each.shape for name, each in model.named_parameters()}
    numbers = sum(shape.numel() for shape in shapes.values())
    table = 0.3 * torch.randn(rows, numbers, generator=generator).to(dtype)
    inputs = torch.randn(SAMPLES, STEPS, WIDTH, generator=generator).to(dtype)
    targets = torch.randint(CLASSES, (SAMPLES, STEPS), generator=generator)
    targets[::5] = -100

    def outputs(row, inputs):
        parts = row.split([shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        return functional_call(model, named, (inputs,))

    return outputs, (table, inputs, targets[:, 0].contiguous() if order == "no steps" else targets)


def of_rows(outputs, measure, *, together):
    """Measures of each row; together or one alone."""

    def of_row(row, inputs, targets):
        return torch.stack(measure(outputs(row, inputs), targets))

    def function(rows, inputs, targets):
        if together:
            return vmap(of_row, in_dims=(0, None, None))(rows, inputs, targets)
        return torch.stack([of_row(row, inputs, targets) for row in rows.unbind()])

    return function


def both(outputs, targets):
    """What a task of classes measures by default."""
    return [functional.cross_entropy(outputs, targets), class_accuracy(outputs, targets, ignore_index=-100)]


def targets_of(graph):
    return [node.target for node in graph.graph.nodes]


def rewritten(function, arguments):
    """A traced graph, rewritten, that gives what the function does."""
    with torch.no_grad():
        graph = score_passes.scores_at_targets(make_fx(function)(*arguments))
        torch.testing.assert_close(
            graph(*arguments), function(*arguments), rtol=1e-5, atol=1e-5, equal_nan=True
        )
    return graph


@pytest.mark.parametrize(
    ("order", "bias"), [("no steps", True), ("steps first", False), ("steps second", True)]
)
@pytest.mark.parametrize("rows", [1, 3])
def test_scores_of_which_only_losses_and_largest_are_used_are_not_held(order, bias, rows):
    outputs, arguments = given(order, rows=rows, bias=bias)
    function = of_rows(outputs, both, together=rows > 1)
    graph = rewritten(function, arguments)
    called = targets_of(graph)
    assert called.count(OPERATOR) == 1
    gone = (
        aten._log_softmax.default,
        aten.argmax.default,
        aten.gather.default,
        aten.mm.default,
        aten.bmm.default,
    )
    assert not set(gone) & set(called)
    again = read(written(graph))
    for one, other in zip(graph(*arguments), again(*arguments), strict=True):
        assert torch.equal(one, other)
    arguments[-1].fill_(-100)  # nothing counts
    torch.testing.assert_close(graph(*arguments), function(*arguments), equal_nan=True)
    arguments[-1].fill_(CLASSES)
    with pytest.raises(IndexError, match="a target is no class"):
        graph(*arguments)


def losses_and_right(outputs, targets):
    losses = functional.cross_entropy(outputs, targets, reduction="none")
    return [losses.sum(), losses.amax(), (outputs.argmax(1) == targets).sum().float()]


def summed(outputs, targets):
    return [functional.cross_entropy(outputs, targets, reduction="sum")]


def perplexity(outputs, targets):
    right = (outputs.argmax(dim=1, keepdim=True)[:, 0] == targets).float().mean()
    return [
        functional.cross_entropy(outputs, targets),
        functional.cross_entropy(outputs, targets).exp(),
        right,
    ]


def flattened(outputs, targets):
    return [functional.cross_entropy(outputs.mT.reshape(-1, CLASSES), targets.reshape(-1))]


@pytest.mark.parametrize("measure", [losses_and_right, summed, perplexity, flattened])
@pytest.mark.parametrize("rows", [1, 3])
def test_other_measures_of_the_same_kind_share_one_call(measure, rows):
    outputs, arguments = given("steps second", rows=rows)
    graph = rewritten(of_rows(outputs, measure, together=rows > 1), arguments)
    assert targets_of(graph).count(OPERATOR) == 1


def smoothed(outputs, targets):
    return [functional.cross_entropy(outputs, targets, label_smoothing=0.1)]


def weighted(outputs, targets):
    return [functional.cross_entropy(outputs, targets, weight=torch.arange(1.0, CLASSES + 1))]


def with_entropy(outputs, targets):
    return [*both(outputs, targets), -(outputs.softmax(1) * outputs.log_softmax(1)).sum()]


def with_mean(outputs, targets):
    return [*both(outputs, targets), outputs.mean()]


def of_two_targets(outputs, targets):
    others = targets.flip(0)
    return [functional.cross_entropy(outputs, each) for each in (targets, others)]


def ignoring_two_classes(outputs, targets):
    targets = targets.clamp(min=0)
    return [functional.cross_entropy(outputs, targets, ignore_index=each) for each in (0, 1)]


def largest_alone(outputs, targets):
    return [class_accuracy(outputs, targets)]


def over_steps(outputs, targets):
    return [functional.cross_entropy(outputs, targets), outputs.argmax(2).float().mean()]


def colder(outputs, targets):
    return [functional.cross_entropy(outputs / 2, targets)]


def sliced(outputs, targets):
    return [functional.cross_entropy(outputs[:, :, 1:], targets[:, 1:])]


LEFT = (
    smoothed,
    weighted,
    with_entropy,
    with_mean,
    of_two_targets,
    ignoring_two_classes,
    largest_alone,
    over_steps,
    colder,
    sliced,
)


@pytest.mark.parametrize(("measure", "rows"), [*((each, 1) for each in LEFT), (smoothed, 3), (with_mean, 3)])
def test_scores_that_are_needed_otherwise_are_left(measure, rows):
    outputs, arguments = given("steps second", rows=rows)
    graph = rewritten(of_rows(outputs, measure, together=rows > 1), arguments)
    assert OPERATOR not in targets_of(graph)


def test_gradients_and_double_precision_are_left():
    outputs, arguments = given("steps second", rows=2, dtype=torch.float64)
    assert OPERATOR not in targets_of(rewritten(of_rows(outputs, both, together=True), arguments))
    outputs, arguments = given("steps second", rows=2)

    def slopes(rows, inputs, targets):
        def loss(row, inputs, targets):
            return functional.cross_entropy(outputs(row, inputs), targets)

        return vmap(torch.func.grad(loss), in_dims=(0, None, None))(rows, inputs, targets)

    assert OPERATOR not in targets_of(rewritten(slopes, arguments))


def test_without_a_compiler_scores_are_torchs(monkeypatch):
    monkeypatch.setattr(score_passes, "is_available", lambda: False)
    outputs, arguments = given("no steps", rows=3)
    assert OPERATOR not in targets_of(rewritten(of_rows(outputs, both, together=True), arguments))


@pytest.mark.slow
@pytest.mark.parametrize("order", ["no steps", "steps first"])
@pytest.mark.parametrize("rows", [1, 3])
def test_compiled_ends_give_what_traced_ones_do(order, rows):
    outputs, arguments = given(order, rows=rows)
    function = of_rows(outputs, both, together=rows > 1)
    programme = Programme(
        function, arguments, growing=(), calls=1, compile_when="always", threads=1, name="an end"
    )
    assert programme.tier == "compiled"
    torch.testing.assert_close(programme(0, *arguments)[0], function(*arguments))
    arguments[-1].fill_(CLASSES)
    with pytest.raises(RuntimeError):
        programme(0, *arguments)
