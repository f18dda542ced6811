"""The parcel for the actor of a shard: its task as text and numbers, opened where it arrives."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gossipfl.tasks import Dataset
from sims.cluster.shared_data import Arrays, dataset_of
from sims.cluster.shipping import Shipment, place_of, relocated
from sims.engine.programme import Compile
from sims.running.memory import MemoryEstimate
from sims.scenario import to_toml
from sims.scenario.text import scenario_of
from sims.sharding.partition import Partition
from sims.sharding.shard import ShardTask
from topology.parsing import toml_of

__all__ = ["Parcel", "opened", "parcel_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
    """A `ShardTask` whose scenario is text: its modules are found only where they have been unpacked.

    Parameters
    ----------
    journey : str
        Names the run under way; with it, its directory on each machine.
    scenario : str
        TOML.
    partition, threads, compile_when, device, memory, together
        As of a `ShardTask`.
    """

    journey: str
    scenario: str
    partition: Partition
    threads: int
    compile_when: Compile
    device: str
    memory: MemoryEstimate
    together: int


def parcel_of(task: ShardTask, *, together: int) -> Parcel:
    """Pack a task, for shards of which so many share a machine."""
    return Parcel(
        journey=secrets.token_hex(8),
        scenario=to_toml(task.scenario),
        partition=task.partition,
        threads=task.threads,
        compile_when=task.compile_when,
        device=task.device,
        memory=task.memory,
        together=together,
    )


def opened(parcel: Parcel, shipment: Shipment, data: Arrays | None) -> tuple[ShardTask, Dataset | None]:
    """Unpack a task with its files, and the samples that came with it."""
    table = relocated(toml_of(parcel.scenario), shipment.unpack(place_of(parcel.journey)))
    scenario = scenario_of(table, source="the scenario")
    task = ShardTask(
        scenario=scenario,
        partition=parcel.partition,
        threads=parcel.threads,
        compile_when=parcel.compile_when,
        device=parcel.device,
        memory=parcel.memory,
        together=parcel.together,
    )
    return task, None if data is None else dataset_of(data)
