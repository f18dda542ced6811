"""Memory that models need while they are trained or evaluated: outputs of their modules, and of operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gossipfl.tasks.samples import count, take
from sims.engine.blocks import block_size
from sims.metrics.living import Living, Watching
from sims.world import World

__all__ = ["evaluating_bytes", "working_bytes"]

_SAMPLES_TRIED = 2, 6
_COPIES = 1.75  # of these, where what is traced lays them out otherwise
_KEPT = 3  # outputs, their gradients, and what operators need on the way


def working_bytes(world: World) -> int:
    """Bytes of what is computed at a time in training."""
    nodes, row = world.scenario.population.nodes, world.dtype.itemsize * world.layout.size
    batch = min(world.scenario.training.batch_size, int(world.trainer.data.counts.max()))
    return _KEPT * block_size(row_bytes=row, nodes=5 * nodes) * batch * sum(_outputs_of_a_sample(world))


def evaluating_bytes(world: World) -> int:
    """Bytes of what is computed at a time for one model on all test samples; 0 where that cannot be told.

    Evaluations are cut to blocks of models that fit the cache, of at least one.
    """
    row, (inputs, targets) = world.first_rows()[:1], max(world.own_tests, key=lambda tests: count(tests[1]))
    samples = count(targets)
    if samples <= max(_SAMPLES_TRIED):
        return 0
    found = []
    for few in _SAMPLES_TRIED:
        living = Living()
        try:
            with torch.no_grad(), Watching(living.seen):
                world.task.evaluate(row, *(take(tree, slice(0, few)) for tree in (inputs, targets)))
        except Exception:  # a metric may need more samples, and what fails on all of them is named there
            return 0
        found.append(living.most)
    fewer, more = _SAMPLES_TRIED
    return int(_COPIES * (found[1] - found[0]) / (more - fewer) * samples)


def _outputs_of_a_sample(world: World) -> list[int]:
    """Bytes of what each innermost module returns for a sample; none where they cannot be told."""
    found: list[int] = []

    def noted(module: nn.Module, inputs: Any, outputs: Any) -> None:  # noqa: ANN401
        del module, inputs
        first = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
        if isinstance(first, Tensor):
            found.append(first.numel() * first.element_size())

    module = world.task.build_module().eval()
    for part in module.modules():
        if not any(part.children()):
            part.register_forward_hook(noted)
    inputs = take(world.test_inputs, slice(0, 1))
    try:
        with torch.no_grad():
            if isinstance(inputs, dict):
                module(**inputs)
            else:
                module(*inputs) if isinstance(inputs, tuple | list) else module(inputs)
    except Exception:  # a module that takes several samples, or runs elsewhere: its memory is not estimated
        return found
    return found
