"""Delays of messages, their transmission not included: a law, or half of measured round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline.draws import HOST, below
from sims.compiler.timeline.traces import TICKS_PER_SECOND, read_round_trips, ticks
from sims.errors import InvalidScenario
from sims.scenario.network import (
    ConstantDelay,
    LognormalDelay,
    MatrixDelay,
    NetworkSection,
    UniformDelay,
)

__all__ = ["CONSTANT", "LOGNORMAL", "MATRIX", "UNIFORM", "Delays", "delays_of", "hosts_of"]

CONSTANT, UNIFORM, LOGNORMAL, MATRIX = range(4)


class Delays(NamedTuple):
    """The law of delays, in ticks: its kind and two numbers; of a matrix, hosts of nodes and one-way times."""

    kind: int
    first: float
    second: float
    hosts: NDArray[np.int32]
    one_way: NDArray[np.float64]


def delays_of(network: NetworkSection, *, seed: int, numbers: Sequence[int]) -> Delays:
    """Read the delays of a scenario.

    Parameters
    ----------
    network : NetworkSection
    seed : int
    numbers : sequence of int
        The number by which each node's host is drawn.

    Raises
    ------
    MalformedTrace
        If a matrix is not in its format.
    InvalidScenario
        If its hosts are not those of the nodes.
    """
    anywhere, none = np.zeros(1, dtype=np.int32), np.zeros((1, 1))
    match network.delay:
        case ConstantDelay(seconds=seconds):
            return Delays(CONSTANT, float(ticks(seconds)), 0.0, anywhere, none)
        case UniformDelay(low=low, high=high):
            return Delays(UNIFORM, float(ticks(low)), float(ticks(high)), anywhere, none)
        case LognormalDelay(median=median, sigma=sigma):
            return Delays(LOGNORMAL, float(ticks(median)), sigma, anywhere, none)
        case MatrixDelay(file=file, hosts=given):
            one_way = read_round_trips(file) * (TICKS_PER_SECOND / 2000)
            hosts = hosts_of("network.delay", given, count=len(one_way), seed=seed, numbers=numbers)
            return Delays(MATRIX, 0.0, 0.0, hosts, one_way)


def hosts_of(
    key: str, given: Sequence[int] | None, *, count: int, seed: int, numbers: Sequence[int]
) -> NDArray[np.int32]:
    """Host of each node in a matrix of ``count`` hosts, int32 ``[n]``: as given, else drawn.

    Raises
    ------
    InvalidScenario
        If too few are given, or a host is not in the matrix.
    """
    most = max(numbers, default=0)
    if given is not None and (len(given) <= most or max(given) >= count):
        raise InvalidScenario(
            f"{key}.hosts: every node sits at a host of the matrix",
            expected=f"a number from 0 to {count - 1} for each of {most + 1} nodes",
            got=f"{len(given)} numbers, the largest {max(given, default=0)}",
        )
    at = [below(seed, HOST, number, 0, count) if given is None else given[number] for number in numbers]
    return np.array(at, dtype=np.int32)
