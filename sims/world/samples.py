"""Samples of a simulation: divided among its nodes, and those that models are measured on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.machine import available_memory
from gossipfl.tasks import Dataset
from gossipfl.tasks.clusters import cluster_of, parse_clusters, seen_by_cluster
from gossipfl.tasks.samples import Tree, count, joined, take
from gossipfl.tasks.stored import StoredSamples
from gossipfl.training import NodeData
from sims.errors import InvalidScenario, NotEnoughMemory
from sims.scenario import Scenario
from sims.world.partitions import parts_of

__all__ = ["divided", "held_out", "seen_by_clusters"]


def held_out(dataset: Dataset, share: float, *, seed: int) -> tuple[Dataset, NDArray[np.int64]]:
    """Training samples only: ``share`` of them in place of the test samples, the others, numbered, to train on."""
    samples = dataset.samples
    held = round(share * samples)
    if not 0 < held < samples:
        raise InvalidScenario(
            "evaluate.validation: too few samples for that share",
            expected="at least one sample to measure on and one to train on",
            got=f"{share} of {samples} training samples",
        )
    order = torch.from_numpy(np.random.Generator(np.random.Philox(key=[seed, 2])).permutation(samples))
    measured, trained = order[:held].sort().values, order[held:].sort().values
    kept = Dataset(
        train_inputs=_subset(dataset.train_inputs, trained),
        train_targets=_subset(dataset.train_targets, trained),
        test_inputs=take(dataset.train_inputs, measured),
        test_targets=take(dataset.train_targets, measured),
        owners=None if dataset.owners is None else dataset.owners[trained],
        test_owners=None if dataset.owners is None else dataset.owners[measured],
    )
    return kept, trained.numpy()


def _subset(samples: Tree, chosen: Tensor) -> Tree:
    return samples.subset(chosen.numpy()) if isinstance(samples, StoredSamples) else take(samples, chosen)


def seen_by_clusters(scenario: Scenario, dataset: Dataset) -> list[Dataset]:
    """Samples as each cluster of nodes sees them; as they are, if there is only one.

    Raises
    ------
    InvalidPartition
        If the clusters cannot see such samples.
    """
    scheme = scenario.task.clusters
    if scheme is None:
        return [dataset]
    _, clusters = parse_clusters(scheme)
    return [seen_by_cluster(dataset, scheme, cluster) for cluster in range(clusters)]


def divided(scenario: Scenario, seen: list[Dataset], *, kept: NDArray[np.int64] | None = None) -> NodeData:
    """Divide the training samples, each node's as its cluster sees them.

    The division is the same whatever clusters there are; ``kept`` is as in `parts_of`.

    Raises
    ------
    InvalidScenario, InvalidPartition
        If they cannot be divided as asked.
    NotEnoughMemory
        If numbers of samples alone would not fit.
    """
    data = _divided(scenario, seen[0], kept)
    if len(seen) == 1:
        return data
    inputs = joined([one.train_inputs for one in seen])
    targets = joined([one.train_targets for one in seen])
    clusters = cluster_of(np.repeat(np.arange(len(data.counts)), data.counts), len(seen))
    return replace(data, inputs=inputs, targets=targets, indices=data.indices + clusters * seen[0].samples)


def _divided(scenario: Scenario, dataset: Dataset, kept: NDArray[np.int64] | None) -> NodeData:
    nodes, section = scenario.population.nodes, scenario.task
    inputs, targets = dataset.train_inputs, dataset.train_targets
    if section.samples_per_node is not None:
        return _drawn(scenario.seed, inputs, targets, nodes=nodes, each=section.samples_per_node)
    return NodeData.partitioned(inputs, targets, parts_of(scenario, dataset, kept=kept))


def _drawn(seed: int, inputs: Tree, targets: Tree, *, nodes: int, each: int) -> NodeData:
    """Every node has ``each`` samples of the pool, drawn independently with replacement."""
    needed, available = np.dtype(np.int64).itemsize * nodes * (each + 2), available_memory()
    if needed > available:  # before anything else of the nodes is known
        raise NotEnoughMemory(
            "the lists of all nodes' samples would not fit into memory",
            expected=f"at most {available / 2**30:.1f} GiB",
            got=f"{needed / 2**30:.1f} GiB, for {nodes:,} nodes with {each:,} samples each",
            remedy="Simulate fewer nodes, or choose a smaller task.samples_per_node.",
        )
    generator = np.random.Generator(np.random.Philox(key=[seed, 1]))
    indices = generator.integers(0, count(targets), size=nodes * each, dtype=np.int64)
    offsets = np.arange(nodes + 1, dtype=np.int64) * each
    return NodeData(inputs, targets, offsets, indices, np.arange(nodes, dtype=np.int64))
