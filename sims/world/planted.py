"""Planted participants of a scenario: their places, and their data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks.samples import Tree, Weighted, class_labels, describe, joined, take
from gossipfl.training import NodeData
from sims.errors import InvalidScenario
from sims.scenario import Scenario

__all__ = ["Planted", "planted_in", "with_planted"]

Ints = NDArray[np.int64]
_PLACES, _LABELS = 7, 8  # counters of the generators that place them, and draw their labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Who is of which kind.

    Parameters
    ----------
    free_riders, noisy : tuple of int
        Nodes.
    duplicates : dict of int to int
        Nodes, and whose samples they have.
    """

    free_riders: tuple[int, ...] = ()
    noisy: tuple[int, ...] = ()
    duplicates: dict[int, int]


def planted_in(scenario: Scenario) -> Planted:
    """Draw the places of planted nodes.

    Raises
    ------
    InvalidScenario
        If there are not as many ordinary nodes as duplicates, or fewer than two.
    """
    section, n = scenario.planted, scenario.population.nodes
    if section is None:
        return Planted(duplicates={})
    ordinary = n - section.count
    if ordinary < max(2, section.duplicates):
        raise InvalidScenario(
            "planted: too few nodes are ordinary",
            expected=f"at least {max(2, section.duplicates)} of {n} nodes",
            got=ordinary,
        )
    order = np.random.Generator(np.random.Philox(key=[scenario.seed, _PLACES])).permutation(n).tolist()
    copied = order[section.count :]
    riders, rest = order[: section.free_riders], order[section.free_riders : section.count]
    return Planted(
        free_riders=tuple(sorted(riders)),
        duplicates=dict(zip(rest[: section.duplicates], copied, strict=False)),
        noisy=tuple(sorted(rest[section.duplicates :])),
    )


def with_planted(data: NodeData, scenario: Scenario) -> NodeData:
    """Give planted nodes their data, and leave those of others alone.

    Free riders keep samples of weight 0, whose gradient is 0: they count steps, and change nothing.

    Raises
    ------
    InvalidScenario
        If the targets are not classes in memory.
    """
    planted, section = planted_in(scenario), scenario.planted
    if section is None or not section.count:
        return data
    classes = class_labels(data.targets)
    if classes is None or not isinstance(data.targets, Tensor) or not data.in_memory:
        raise InvalidScenario(
            "planted: labels are changed, and this task has no classes in memory",
            expected="targets that are integers, one a sample",
            got=f"targets {describe(data.targets)}",
        )
    parts = [data.indices[start:end] for start, end in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    for node, original in planted.duplicates.items():
        parts[node] = parts[original]
    inputs, targets = data.inputs, data.targets
    generator = np.random.Generator(np.random.Philox(key=[scenario.seed, _LABELS]))
    for node in planted.noisy:
        own = parts[node]
        labels = classes[own].copy()
        chosen = generator.choice(len(own), round(section.noise * len(own)), replace=False)
        kinds = int(classes.max()) + 1
        labels[chosen] = (labels[chosen] + generator.integers(1, kinds, len(chosen))) % kinds
        parts[node] = len(targets) + np.arange(len(own))
        inputs = joined([inputs, take(data.inputs, torch.from_numpy(own))])
        targets = torch.cat([targets, torch.from_numpy(labels).to(targets.dtype)])
    if not planted.free_riders:
        return _of_parts(data, inputs, targets, parts)
    weights = torch.ones(len(targets))
    idle = np.concatenate([parts[node] for node in planted.free_riders])
    start = len(targets)
    for node in planted.free_riders:
        parts[node] = start + np.arange(len(parts[node]))
        start += len(parts[node])
    weights = torch.cat([weights, torch.zeros(len(idle))])
    inputs = joined([inputs, take(inputs, torch.from_numpy(idle))])
    targets = torch.cat([targets, targets[torch.from_numpy(idle)]])
    return _of_parts(data, inputs, Weighted(targets, weights), parts)


def _of_parts(data: NodeData, inputs: Tree, targets: Tree, parts: list[Ints]) -> NodeData:
    return NodeData.partitioned(inputs, targets, parts, numbers=data.numbers)
