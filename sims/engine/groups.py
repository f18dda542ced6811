"""Groups of updates that can be computed together: the same operation, on batches of the same size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipfl.algorithms import Behaviour
from sims.compiler.operations import ON_RECEIPT, OPERATIONS, operation_on
from sims.engine.batch_sizes import BatchSizes

__all__ = ["Group", "Groups", "groups_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Updates that are computed together.

    Parameters
    ----------
    operation : int
        Of `sims.compiler.operations`.
    batch : int
        Samples in a batch; irrelevant where nobody trains.
    trains : bool
        Whether nodes train in this operation.
    share : float
        Share of the nodes that belong to it.
    padded : bool
        Whether samples of its batches may count for nothing.
    """

    operation: int
    batch: int
    trains: bool
    share: float
    padded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """All groups of a simulation.

    Parameters
    ----------
    all : tuple of Group
    of : ndarray
        Number of the group of every operation of every node, int64 ``[OPERATIONS, N]``.
    training : int
        The operation in which nodes train.
    """

    all: tuple[Group, ...]
    of: NDArray[np.int64]
    training: int


def groups_of(behaviour: Behaviour, batches: BatchSizes, *, trains: bool) -> Groups:
    """Group the updates of an algorithm.

    Parameters
    ----------
    behaviour : Behaviour
    batches : BatchSizes
        Of each node.
    trains : bool
        Whether there is any training in the simulation.
    """
    training = operation_on(behaviour.trains)
    sizes, of_node = batches.groups
    of = np.zeros((OPERATIONS, len(of_node)), dtype=np.int64)
    of[training] = of_node
    found = [
        Group(training, size, trains, float((of_node == index).mean()), padded)
        for index, (size, padded) in enumerate(sizes)
    ]
    if training != ON_RECEIPT:
        of[ON_RECEIPT] = len(found)
        found.append(Group(ON_RECEIPT, sizes[0][0], trains=False, share=1.0))
    return Groups(all=tuple(found), of=of, training=training)
