"""Places of shards on the machines of a cluster: how many cores and cards each can have."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sims.errors import NotSimulable

__all__ = ["means_of_each", "share_of_each"]

logger = logging.getLogger(__name__)

_PARTS = 10_000  # of a core or a card, as finely as Ray divides them


def share_of_each(machines: Sequence[float], *, shards: int, most: int) -> float:
    """The most of something that each shard can have, so that all find a place at once.

    Parameters
    ----------
    machines : sequence of float
        How much of it each machine has.
    shards : int
    most : int
        What a shard can use.

    Returns
    -------
    float
        A whole number, or, where there is less than one for each, a part of one; 0 if there is none.

    Examples
    --------
    >>> share_of_each([8, 8], shards=4, most=6), share_of_each([1, 1], shards=3, most=1)
    (4, 0.5)
    """
    for whole in range(most, 0, -1):
        if sum(int(machine // whole) for machine in machines) >= shards:
            return whole
    for together in range(2, shards + 1):
        if sum(int(machine * together) for machine in machines) >= shards:
            return _PARTS // together / _PARTS
    return 0


def means_of_each(
    nodes: Sequence[Mapping[str, Any]], *, shards: int, threads: int, device: str
) -> dict[str, float]:
    """Cores and cards to ask for, for each shard, as options of an actor of Ray.

    Parameters
    ----------
    nodes : sequence of mapping
        As ``ray.nodes()`` tells of them.
    shards, threads : int
    device : str

    Raises
    ------
    NotSimulable
        If shards are to compute on cards, and there are none.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cores = share_of_each([each.get("CPU", 0.0) for each in machines], shards=shards, most=threads)
    if cores < threads:
        total = sum(each.get("CPU", 0.0) for each in machines)
        logger.warning(
            "%d shards of %d threads share the %g CPUs of the cluster, %g for each: they take turns",
            shards,
            threads,
            total,
            cores,
        )
    if not device.startswith("cuda"):
        return {"num_cpus": cores}
    cards = share_of_each([each.get("GPU", 0.0) for each in machines], shards=shards, most=1)
    if not cards:
        raise NotSimulable("no machine of the cluster has a GPU", got=f"device {device}")
    return {"num_cpus": cores, "num_gpus": cards}
