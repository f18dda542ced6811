"""Online estimates in a simulation: what merging others' models does to losses, as real peers measure it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms.merge_effects import merge_effects
from gossipfl.attacks import Poisoned
from gossipfl.tasks.samples import Tree, count, stacked, take
from gossipfl.training.nodes import before_rest
from sims.engine.programme import Compile
from sims.running.simulation import simulation_of
from sims.world import World
from sims.world.networks import graph_of
from topology import graphs

__all__ = ["online_effects"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

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
    batches = _batches(world, samples)
    simulation = simulation_of(scenario, world, threads=threads, compile_when=compile_when, device="cpu")
    total = np.zeros(len(pairs))
    counted = np.zeros(len(pairs))
    try:
        for moment in range(1, moments + 1):
            simulation.advance(scenario.stop.rounds * moment / moments, between=lambda: False)
            sent = simulation.rows_to_send()
            for places, effects in _effects(world, sent, pairs, batches):
                known = np.isfinite(effects)
                total[places[known]] += effects[known]
                counted[places[known]] += 1
    finally:
        simulation.close()
    found = np.full((scenario.population.nodes,) * 2, np.nan)
    measured = counted > 0
    found[pairs[measured, 0], pairs[measured, 1]] = total[measured] / counted[measured]
    return found


def _effects(
    world: World, rows: Tensor, pairs: Ints, batches: list[tuple[Tree, Tree]]
) -> Iterator[tuple[Ints, Floats]]:
    """Effects of pairs (receiver, sender), some at a time: those whose batches are of one size."""
    size = world.layout.shared_size
    sizes = np.array([count(targets) for _, targets in batches])[pairs[:, 0]]
    for each in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == each)
        for start in range(0, len(places), _PAIRS_AT_ONCE):
            some = places[start : start + _PAIRS_AT_ONCE]
            receivers, senders = (torch.from_numpy(pairs[some, k]) for k in (0, 1))
            before = rows[receivers]
            after = before_rest(torch.lerp(before[:, :size], rows[senders][:, :size], 0.5), before)
            inputs = stacked([batches[j][0] for j in receivers.tolist()])
            targets = stacked([batches[j][1] for j in receivers.tolist()])
            yield some, merge_effects(world.task, before, after, inputs, targets).numpy()


def _batches(world: World, samples: int) -> list[tuple[Tree, Tree]]:
    """A few of the test samples of each node, drawn for it."""
    nodes = np.arange(world.scenario.population.nodes)
    found = []
    for node, test in zip(nodes.tolist(), world.own_test(nodes).tolist(), strict=True):
        inputs, targets = world.own_tests[test]
        there = count(targets)
        generator = np.random.Generator(np.random.Philox(key=[world.scenario.seed, (node << 8) + _PURPOSE]))
        chosen = torch.from_numpy(generator.choice(there, min(samples, there), replace=False))
        found.append((take(inputs, chosen), take(targets, chosen)))
    return found
