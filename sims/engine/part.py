"""The part of a population that an engine holds, and its way to the rows of all others."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from sims.compiler.timeline import Timeline
from sims.engine.engine import Arrays, Engine
from sims.world import World

__all__ = ["Everybody", "Execution", "Part", "Surroundings"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What B rows of a matrix combine: rows of one's own, and of others.

    Parameters
    ----------
    matrix : csr_array
        The B rows, ``[B, B + H]``, with entries in the order of the whole matrix: the first B columns are one's
        own, the other H those that one lacks.
    numbers : ndarray
        Numbers of the columns in the whole matrix, int64 ``[B + H]``.
    reach : callable
        From one's own B rows to all B + H. Everybody calls it, the same number of times.
    """

    matrix: csr_array
    numbers: Ints
    reach: Callable[[Tensor], Tensor]


class Execution(Protocol):
    """Whatever executes windows of a timeline, and has the state that these change."""

    def follow(
        self, timeline: Timeline, until: int, *, begins: Callable[[int, int], None]
    ) -> Generator[None, None, None]:
        """Execute all windows up to and including time ``until`` (ticks); yield after each.

        The timeline may be ahead until this ends; when it is closed early, both are where they were after the last
        window executed. Before each window ``begins`` is told when its first and last operations are, in ticks.
        """
        ...

    def state(self) -> Arrays:
        """All that changes, as named arrays, for a checkpoint."""
        ...

    def restore(self, state: Arrays) -> None:
        """Continue from a value of `state`."""
        ...


class Part(Protocol):
    """A part of a population."""

    @property
    def numbers(self) -> Ints:
        """Numbers of its nodes, increasing, int64 ``[B]``."""
        ...

    @property
    def leads(self) -> bool:
        """Whether it counts what is the whole population's and not any node's."""
        ...

    def world(self, world: World) -> World:
        """A world with the data of its nodes alone."""
        ...

    def mean(self, rows: Tensor) -> Tensor:
        """The mean of the rows of all nodes, ``[1, K]``, of which one's own are ``[B, K]``; everybody calls it."""
        ...

    def largest(self, number: Tensor) -> Tensor:
        """The largest of one number of each part, int64 ``[]``; everybody calls it."""
        ...

    def everybody(self, rows: Tensor) -> Tensor:
        """Rows of all nodes, by their numbers, ``[N, K]``, of one's own ``[B, K]``; everybody calls it."""
        ...

    def execution(self, engine: Engine) -> Execution:
        """Execution of windows of the whole network, by the engine of one's own nodes."""
        ...

    def around(self, matrix: csr_array, *, owners: Ints | None = None) -> Surroundings:
        """Restrict a matrix to one's own rows.

        Parameters
        ----------
        matrix : csr_array
            Shape ``[M, M]``.
        owners : ndarray, optional
            The node that each of the M rows belongs to, increasing, int64 ``[M]``; by default row i to node i.
        """
        ...


@dataclass(frozen=True, slots=True)
class Everybody:
    """All nodes, in one place.

    Parameters
    ----------
    n : int
    """

    n: int

    @property
    def numbers(self) -> Ints:
        """All."""
        return np.arange(self.n)

    @property
    def leads(self) -> bool:
        """There are no others."""
        return True

    def world(self, world: World) -> World:
        """The whole."""
        return world

    def mean(self, rows: Tensor) -> Tensor:
        """Their mean."""
        return rows.mean(dim=0, keepdim=True)

    def largest(self, number: Tensor) -> Tensor:
        """There is one."""
        return number

    def everybody(self, rows: Tensor) -> Tensor:
        """They are there."""
        return rows

    def execution(self, engine: Engine) -> Engine:
        """The engine's."""
        return engine

    def around(self, matrix: csr_array, *, owners: Ints | None = None) -> Surroundings:
        """The whole matrix, of rows that are all there."""
        del owners
        return Surroundings(matrix=matrix, numbers=np.arange(matrix.shape[0]), reach=lambda rows: rows)
