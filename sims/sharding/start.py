"""Simulations in shards, set up from a scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sims.engine.programme import Compile
from sims.scenario import Scenario
from sims.sharding.crew import Crew, Threads
from sims.sharding.estimate import estimate_shard
from sims.sharding.partition import divided, pattern_of_lists, pattern_of_rounds
from sims.sharding.refusals import require_divisible
from sims.sharding.shard import ShardTask
from sims.sharding.sharded import Sharded
from sims.sharding.states import MessageStates, RoundStates
from sims.world import World
from sims.world.networks import neighbour_lists, round_network

__all__ = ["sharded"]

Crews: TypeAlias = Callable[[ShardTask, World], Crew]


def sharded(
    scenario: Scenario,
    world: World,
    *,
    shards: int,
    threads: int = 1,
    compile_when: Compile = "auto",
    device: str = "cpu",
    crew: Crews = Threads,
) -> Sharded:
    """Set up a simulation in shards.

    Parameters
    ----------
    scenario, world, compile_when, device
        As in `sims.running.run`.
    shards : int
    threads : int
        Of each shard.
    crew : callable
        Makes all shards; by default in threads of this process, of which one at a time computes.

    Raises
    ------
    InvalidScenario, NotSimulable
        If its parts do not fit together, or it cannot be divided.
    """
    require_divisible(scenario, world)
    n, states, network = scenario.population.nodes, None, None
    if scenario.algorithm.in_rounds:
        network = round_network(scenario, class_counts=world.class_counts)
        partition = divided(n, shards, pattern_of_rounds(network))
        states = RoundStates(world, network, partition)
    else:
        lists = neighbour_lists(scenario, class_counts=world.class_counts)
        partition = divided(n, shards, pattern_of_lists(n, lists))
    memory = estimate_shard(scenario, world, partition, network, threads=threads, compile_when=compile_when)
    task = ShardTask(
        scenario=scenario,
        partition=partition,
        threads=threads,
        compile_when=compile_when,
        device=device,
        memory=memory,
    )
    divides = states or MessageStates(world, partition)
    return Sharded(scenario, crew(task, world), partition, divides, memory)
