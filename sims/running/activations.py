"""Memory that models need while they are trained or evaluated: outputs of their modules, and of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gossipfl.tasks.samples import count, take
from gossipfl.training import Nodes
from gossipfl.training.private import SAMPLE_NUMBERS_AT_ONCE
from sims.engine.blocks import block_size
from sims.engine.local import NUMBERS_AT_ONCE
from sims.metrics.living import Living, Watching
from sims.world import World

__all__ = ["evaluating_bytes", "training_bytes"]

_SAMPLES_TRIED = 2, 6
_NODES_TRIED = 8
_STEP = (
    3  # gradients, what is subtracted, and rows after it; of each state of an optimiser the old and the new
)
_NOISE_TABLES = 6  # float64, of numbers that are drawn at a time
_COPIES = 1.75  # of these, where what is traced lays them out otherwise
_KEPT = 3  # outputs, their gradients, and what operators need on the way


def training_bytes(world: World, threads: int) -> int:
    """Bytes of what is computed at a time in training: a block on each thread where it is traced."""
    nodes, row = world.scenario.population.nodes, world.dtype.itemsize * world.layout.size
    batch = min(world.scenario.training.batch_size, int(world.trainer.data.counts.max()))
    block = block_size(row_bytes=row, nodes=5 * nodes)
    states = world.trainer.optimiser_state_size // max(1, world.layout.trainable_size)
    stepped = block * row * (_STEP + 2 * states)
    of_blocks = _KEPT * block * batch * sum(_outputs_of_a_sample(world)) + stepped
    if world.scenario.training.privacy is None:
        return threads * of_blocks
    return max(of_blocks, _private_bytes(world))


def _private_bytes(world: World) -> int:
    """Bytes of private training, untraced: of a few nodes, as many as that of those trained at a time comes to.

    The gradients of samples are there for so many at a time, the noise for all of these nodes.
    """
    nodes, size = world.scenario.population.nodes, world.layout.size
    together = min(nodes, max(1, NUMBERS_AT_ONCE // size))
    batch = min(world.scenario.training.batch_size, int(world.trainer.data.counts.max()))
    differentiated = min(together, -(-SAMPLE_NUMBERS_AT_ONCE // (batch * size)))
    few = min(together, _NODES_TRIED)
    try:
        each = _trained_bytes(world, few) / few
    except Exception:  # whatever a module may do: it is named when it is trained
        return 0
    noise = 8 * size * _NOISE_TABLES
    return int(differentiated * each + max(0, together - differentiated) * noise)


def _trained_bytes(world: World, few: int) -> int:
    """The most bytes of a step of the first nodes."""
    members, rows = np.arange(few), world.first_rows()
    rows = (rows if len(rows) >= few else rows[:1].expand(few, -1))[:few].contiguous()
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    living = Living()
    with Watching(living.seen):
        world.trainer.train(nodes, members, steps=1)
    return living.most


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
