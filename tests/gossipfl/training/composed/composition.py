"""Modules composed of layers drawn by number, and tasks of them."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossipfl.tasks import Dataset, Task
from tests.gossipfl.training.composed.form import Makers
from tests.gossipfl.training.composed.images import IMAGES
from tests.gossipfl.training.composed.odd import ODD
from tests.gossipfl.training.composed.sequences import SEQUENCES, TOKENS
from tests.gossipfl.training.composed.vectors import ACTIVATIONS, VECTORS

__all__ = ["INPUTS", "LOSSES", "composed", "layers_of", "targets_of", "task_of"]

INPUTS = {"vectors": (6,), "sequences": (4, 4), "images": (2, 4, 4), "tokens": (4,)}
BY_RANK: dict[int, Makers] = {
    1: {**VECTORS, **ACTIVATIONS, **ODD},
    2: {**SEQUENCES, **ACTIVATIONS, **ODD},
    3: {**IMAGES, **ACTIVATIONS, **ODD},
}
CLASSES = 3


def mean_of_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss of the author's own."""
    return (outputs - targets).square().mean()


def penalised(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and a penalty on the outputs."""
    return functional.cross_entropy(outputs, targets) + 0.01 * outputs.square().mean()


#: Loss, and what its targets are.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "cross_entropy": (functional.cross_entropy, "classes"),
    "some ignored": (functional.cross_entropy, "some classes"),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    "weighted classes": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), "classes"),
    "sum": (functools.partial(functional.cross_entropy, reduction="sum"), "classes"),
    "penalised": (penalised, "classes"),
    "margin": (functional.multi_margin_loss, "classes"),
    "probabilities": (functional.cross_entropy, "probabilities"),
    "mse": (functional.mse_loss, "numbers"),
    "mse, sum": (nn.MSELoss(reduction="sum"), "numbers"),
    "huber": (functional.huber_loss, "numbers"),
    "own": (mean_of_squares, "numbers"),
    "logits": (functional.binary_cross_entropy_with_logits, "labels"),
    "positive weight": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0])), "labels"),
    "logits, bool": (functional.binary_cross_entropy_with_logits, "bools"),
    "logits, whole": (functional.binary_cross_entropy_with_logits, "whole labels"),
    "uint8 classes": (functional.cross_entropy, "bytes"),
    "int32 classes": (functional.cross_entropy, "int32"),
}


def layers_of(shape: tuple[int, ...], numbers: list[int], *, tokens: bool = False) -> nn.Sequential:
    """Layers by number, each of those that take the shape so far, and a linear head of `CLASSES` outputs."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    probe = torch.zeros(2, *shape, dtype=torch.int64) if tokens else torch.randn(2, *shape)
    for place, number in enumerate(numbers):
        if tokens and place == 0:
            makers = TOKENS
        elif probe.dim() - 1 in BY_RANK:
            makers = BY_RANK[probe.dim() - 1]
        else:
            break
        names = sorted(makers)
        layer = makers[names[number % len(names)]](tuple(probe.shape[1:]), Random(number))
        if layer is None:
            continue
        if not any(nn.parameter.is_lazy(parameter) for parameter in layer.parameters()):
            probe = _shape_after(layer, probe)
        layers[f"{place}, {names[number % len(names)].replace('.', ' ')}"] = layer
    if probe.dim() != 2:
        layers["flat"] = nn.Flatten()
    layers["head"] = nn.Linear(probe[0].numel(), CLASSES)
    return nn.Sequential(layers)


def _shape_after(layer: nn.Module, probe: Tensor) -> Tensor:
    """Random numbers of the shape that a layer gives; it is left as it was."""
    kept = {name: tensor.detach().clone() for name, tensor in layer.state_dict(keep_vars=True).items()}
    assigned = dict(layer._buffers)
    with torch.no_grad():
        shape = layer.eval()(probe.clone()).shape
        layer._buffers.update(assigned)
        for name, tensor in layer.state_dict(keep_vars=True).items():
            if not torch.equal(tensor, kept[name]):
                tensor.copy_(kept[name])
    layer.train()
    return torch.randn(shape)


def composed(inputs: str, numbers: list[int]) -> nn.Module:
    """Module that takes one of `INPUTS`."""
    return layers_of(INPUTS[inputs], numbers, tokens=inputs == "tokens")


def targets_of(kind: str, count: int) -> Tensor:
    """Targets of a kind for so many samples."""
    classes = torch.arange(count) % CLASSES
    generator = torch.Generator().manual_seed(3)
    numbers = torch.randn(count, CLASSES, generator=generator)
    return {
        "classes": classes,
        "some classes": torch.where(torch.arange(count) % 4 == 1, -100, classes),
        "bytes": classes.to(torch.uint8),
        "int32": classes.int(),
        "probabilities": numbers.softmax(-1),
        "numbers": numbers,
        "labels": (numbers > 0).float(),
        "bools": numbers > 0,
        "whole labels": (numbers > 0).long(),
    }[kind]


def task_of(inputs: str, numbers: str, loss: str, samples: int) -> Task:
    """Task of a composition; ``numbers`` are JSON."""
    generator = torch.Generator().manual_seed(5)
    shape = (samples, *INPUTS[inputs])
    given = (
        torch.randint(0, 7, shape, generator=generator)
        if inputs == "tokens"
        else torch.randn(shape, generator=generator)
    )
    function, kind = LOSSES[loss]
    layers: list[Any] = json.loads(numbers)

    def data() -> Dataset:
        targets = targets_of(kind, samples)
        return Dataset(train_inputs=given, train_targets=targets, test_inputs=given, test_targets=targets)

    return Task(name="composed", model=lambda: composed(inputs, layers), data=data, loss=function)
