"""The hostile nodes of a scenario: their places, and their false data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.attacks import Poisoned
from gossipfl.tasks.samples import class_labels, describe, joined, take
from gossipfl.training import NodeData
from sims.errors import InvalidScenario
from sims.scenario import Scenario
from sims.world.networks import neighbour_lists, round_network

__all__ = ["hostile_nodes", "with_false_data"]

Mask = NDArray[np.bool_]
ClassCounts = Callable[[], NDArray[np.int64]]
_PLACES = 3  # counter of the generator that places them


def hostile_nodes(scenario: Scenario, *, class_counts: ClassCounts | None = None) -> Mask:
    """Return which nodes are hostile, bool ``[N]``.

    Parameters
    ----------
    scenario : Scenario
    class_counts : callable, optional
        As for `round_network`, where places depend on degrees.

    Raises
    ------
    InvalidScenario
        If there is no such node, or fewer than two honest nodes would be left.
    """
    section, n = scenario.attack, scenario.population.nodes
    hostile = np.zeros(n, dtype=np.bool_)
    if section is None:
        return hostile
    if section.nodes is not None:
        beyond = [number for number in section.nodes if number >= n]
        if beyond:
            raise InvalidScenario(
                "attack.nodes: there is no such node", expected=f"numbers from 0 to {n - 1}", got=beyond[0]
            )
        hostile[section.nodes] = True
    else:
        count = round((section.share or 0.0) * n) if section.count is None else section.count
        hostile[_ordered(scenario, class_counts)[:count]] = True
    if n - hostile.sum() < 2:
        raise InvalidScenario(
            "attack: too few nodes are honest", expected="at least 2", got=int(n - hostile.sum())
        )
    return hostile


def _ordered(scenario: Scenario, class_counts: ClassCounts | None) -> NDArray[np.int64]:
    """All nodes, those first that become hostile first; equals in random order."""
    assert scenario.attack is not None  # noqa: S101  (the caller asked)
    n, place = scenario.population.nodes, scenario.attack.place
    order = np.random.Generator(np.random.Philox(key=[scenario.seed, _PLACES])).permutation(n)
    if place == "random":
        return order
    if place == "last":
        return np.arange(n)[::-1]
    degrees = _degrees(scenario, class_counts)[order]
    return order[np.argsort(-degrees if place == "highest_degree" else degrees, kind="stable")]


def _degrees(scenario: Scenario, class_counts: ClassCounts | None) -> NDArray[np.int64]:
    """How many other nodes hear from each, in the first round."""
    if not scenario.algorithm.in_rounds:
        indptr, _ = neighbour_lists(scenario, class_counts=class_counts)
        return np.diff(indptr)
    network = round_network(scenario, class_counts=class_counts)
    if network.complete:
        return np.full(network.sequence.n, network.sequence.n - 1)
    matrix = network.sequence.matrix(0).tocoo()
    heard = matrix.coords[1][(matrix.coords[0] != matrix.coords[1]) & (matrix.data != 0)]
    return np.bincount(heard, minlength=network.sequence.n)


def with_false_data(data: NodeData, hostile: Mask, attack: Poisoned) -> NodeData:
    """Give hostile nodes false copies of their samples, and leave those of others alone.

    Raises
    ------
    InvalidScenario
        If the targets are not classes, or samples stay on disk.
    """
    classes = class_labels(data.targets)
    if classes is None or not isinstance(data.targets, Tensor) or not data.in_memory:
        raise InvalidScenario(
            f"attack {attack.name!r} changes the classes of samples, and this task has none in memory",
            expected="targets that are integers, one a sample",
            got=f"targets {describe(data.targets)}",
        )
    owners = np.repeat(np.arange(len(data.counts)), data.counts)
    of_hostile = hostile[owners]
    copied = torch.from_numpy(data.indices[of_hostile])
    false = attack.poison(data.targets[copied], classes=int(classes.max()) + 1).to(data.targets.dtype)
    indices = data.indices.copy()
    indices[of_hostile] = len(data.targets) + np.arange(len(copied))
    return replace(
        data,
        inputs=joined([data.inputs, take(data.inputs, copied)]),
        targets=torch.cat([data.targets, false]),
        indices=indices,
    )
