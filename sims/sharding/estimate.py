"""The memory of one shard: its share of what a run needs on one machine, rows of others, and what Ray takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sims.engine.programme import Compile
from sims.running.memory import MemoryEstimate, estimate_memory
from sims.scenario import Scenario
from sims.sharding.boundary import boundary_of
from sims.sharding.partition import Partition
from sims.world import World
from sims.world.networks import RoundNetwork

__all__ = ["estimate_shard"]

_RAY_BYTES = 54_000_000  # of Ray's part of an actor's process
_OF_SENT, _OF_RECEIVED = 1, 2
"""Copies of rows that cross: as they lie in shared memory, and among those that are combined."""


def estimate_shard(
    scenario: Scenario,
    world: World,
    partition: Partition,
    network: RoundNetwork | None,
    *,
    threads: int = 1,
    compile_when: Compile = "auto",
) -> MemoryEstimate:
    """Estimate the memory of the largest shard's process.

    Rows in shared memory count for each process that has them: a machine with several shards needs less.

    Parameters
    ----------
    scenario : Scenario
    world : World
    partition : Partition
    network : RoundNetwork, optional
        Of a simulation in rounds.
    threads : int
        Of each shard.
    compile_when : {'auto', 'always', 'never'}
    """
    whole = estimate_memory(scenario, world, threads=threads, compile_when=compile_when)
    shards = partition.shards
    row = world.dtype.itemsize * world.layout.shared_size
    return replace(
        whole,
        rows=-(-whole.rows // shards),
        slots=-(-whole.slots // shards),
        exchanged=int(_rows_that_cross(partition, network) * row),
        base=whole.base + _RAY_BYTES,
        shards=shards,
    )


def _rows_that_cross(partition: Partition, network: RoundNetwork | None) -> float:
    """Rows that are sent and received at a time, each as often as it is held."""
    if partition.shards == 1:
        return 0.0
    if network is None:  # each node sends one model a period
        nodes = len(partition.shard) / partition.shards
        return (_OF_SENT + _OF_RECEIVED) * nodes * partition.cut / max(1, partition.links)
    if network.complete:  # sums alone
        return 0.0
    matrix, most = network.sequence.matrix(0), 0
    for shard in range(partition.shards):
        boundary = boundary_of(matrix, partition.shard, shard)
        sent = sum(map(len, boundary.sent.values()))
        received = len(boundary.numbers) - int(np.count_nonzero(partition.shard == shard))
        most = max(most, _OF_SENT * sent + _OF_RECEIVED * received)
    return float(most)
