"""Memory that a block of models needs while it is trained: the outputs of its modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gossipfl.tasks.samples import take
from sims.engine.blocks import block_size
from sims.world import World

__all__ = ["working_bytes"]

_KEPT = 3  # outputs, their gradients, and what operators need on the way


def working_bytes(world: World) -> int:
    """Bytes of what is computed at a time in training; evaluations are cut to fit the cache."""
    nodes, row = world.scenario.population.nodes, world.dtype.itemsize * world.layout.size
    batch = min(world.scenario.training.batch_size, int(world.trainer.data.counts.max()))
    return _KEPT * block_size(row_bytes=row, nodes=5 * nodes) * batch * sum(_outputs_of_a_sample(world))


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
