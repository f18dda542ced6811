"""Online estimates in a simulation: what merging others' models does to losses, as real peers measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms.merge_effects import merge_effects
from gossipfl.attacks import Poisoned
from gossipfl.tasks import Task
from gossipfl.tasks.samples import Tree, count, stacked, take
from gossipfl.training.nodes import before_rest
from sims.engine.programme import Compile
from sims.running.choice import simulation_of
from sims.world import World
from sims.world.networks import graph_of
from topology import graphs

__all__ = ["Samples", "effects_of_pairs", "few_samples", "online_effects"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Samples: TypeAlias = tuple[Tree, Tree]

_PAIRS_AT_ONCE = 128
_PURPOSE = 6


def online_effects(
    world: World,
    *,
    moments: int = 10,
    samples: int = 64,
    threads: int = 1,
    compile_when: Compile = "never",
) -> Floats | None:
    """Measure what merging each neighbour's model would do to each node's loss, at moments of a run.

    The model that a neighbour would send is averaged with the own one, half and half, as gossip merges models of
    one age, and both are tried on a few test samples, others at every node (`merge_effects`).

    Parameters
    ----------
    world : World
    moments : int
        Evenly spaced over the run.
    samples : int
        How many test samples of each node, or all if there are fewer.
    threads, compile_when
        As for `sims.run`.

    Returns
    -------
    ndarray or None
        Mean effect on node j of node i's models, ``[n, n]`` by j and i; NaN for those who are no neighbours. None
        if hostile nodes send other rows than their own.
    """
    scenario = world.scenario
    if scenario.attack is not None:
        attack = scenario.attack.build()
        if not isinstance(attack, Poisoned) and attack.name != "echo":
            return None
    graph = graph_of(scenario, class_counts=world.class_counts)
    edges = (graphs.complete(scenario.population.nodes) if graph is None else graph).edges()
    pairs = np.concatenate([edges, edges[:, ::-1]]).astype(np.int64)
    if graph is not None and graph.directed:
        pairs = graph.edges()[:, ::-1].astype(np.int64)
    batches = few_samples(world.own_tests, scenario.population.nodes, samples, seed=scenario.seed)
    simulation = simulation_of(scenario, world, threads=threads, compile_when=compile_when, device="cpu")
    found = []
    try:
        for moment in range(1, moments + 1):
            simulation.advance(scenario.stop.rounds * moment / moments, between=lambda: False)
            sent, size = simulation.rows_to_send(), world.layout.shared_size
            found.append(effects_of_pairs(world.task, size, sent, pairs, batches))
    finally:
        simulation.close()
    return _mean(np.stack(found))


def _mean(found: Floats) -> Floats:
    """Mean over moments of what is known; NaN where nothing is."""
    known = np.isfinite(found)
    counted = known.sum(axis=0)
    return np.where(counted > 0, np.where(known, found, 0.0).sum(axis=0) / np.maximum(counted, 1), np.nan)


def effects_of_pairs(task: Task, size: int, rows: Tensor, pairs: Ints, batches: list[Samples]) -> Floats:
    """Effects of merging senders' rows half and half with receivers', each on samples of the receiver.

    Parameters
    ----------
    task : Task
    size : int
        Numbers of a row that are shared.
    rows : Tensor
        ``[n, D]``.
    pairs : ndarray
        Receiver and sender, int64 ``[pairs, 2]``.
    batches : list
        Inputs and targets of each receiver (`few_samples`).

    Returns
    -------
    ndarray
        By receiver and sender, ``[n, n]``; NaN for all other pairs.
    """
    found = np.full((len(rows), len(rows)), np.nan)
    sizes = np.array([count(targets) for _, targets in batches])[pairs[:, 0]]
    for each in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == each)
        for start in range(0, len(places), _PAIRS_AT_ONCE):
            some = pairs[places[start : start + _PAIRS_AT_ONCE]]
            receivers, senders = (torch.from_numpy(some[:, k]) for k in (0, 1))
            before = rows[receivers]
            after = before_rest(torch.lerp(before[:, :size], rows[senders][:, :size], 0.5), before)
            inputs, targets = (stacked([batches[j][k] for j in receivers.tolist()]) for k in (0, 1))
            effects = merge_effects(task, before, after, inputs, targets)
            found[some[:, 0], some[:, 1]] = effects.cpu().numpy()
    return found


def few_samples(own_tests: Sequence[Samples], nodes: int, samples: int, *, seed: int) -> list[Samples]:
    """A few of the test samples of each node, drawn for it."""
    found = []
    for node in range(nodes):
        inputs, targets = own_tests[node % len(own_tests)]
        there = count(targets)
        generator = np.random.Generator(np.random.Philox(key=[seed, (node << 8) + _PURPOSE]))
        chosen = torch.from_numpy(generator.choice(there, min(samples, there), replace=False))
        found.append((take(inputs, chosen), take(targets, chosen)))
    return found
