"""A simulation in progress, as a run sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sims.engine import Engine, Phases, RoundEngine
from sims.engine.engine import Arrays
from sims.engine.kept_rows import Stored
from sims.metrics.evaluation import Evaluator
from sims.running.measuring import Measured, measured
from sims.running.memory import MemoryEstimate
from sims.scenario import Scenario
from sims.world import World

__all__ = ["Simulation"]


class Simulation(ABC):
    """A simulation as a run sees it: advanced, and measured.

    Attributes
    ----------
    during : callable
        Told now and then while it advances how many rounds are done.
    memory : MemoryEstimate, optional
        What one process needs, where a simulation is divided.
    """

    _scenario: Scenario
    engine: Engine | RoundEngine
    during: Callable[[float], None] = staticmethod(lambda rounds: None)
    memory: MemoryEstimate | None = None

    @property
    def phases(self) -> Phases:
        """Time spent, and updates done."""
        return self.engine.phases

    @abstractmethod
    def advance(self, rounds: float, *, between: Callable[[], bool]) -> bool:
        """Advance to ``rounds`` periods after the start; return False early if ``between`` returns True."""

    def rows(self) -> Tensor:
        """Rows of all nodes, ``[N, D]``: what they share."""
        return self.engine.rows()

    def models(self, nodes: NDArray[np.int64] | None = None) -> Tensor:
        """Models to use and to evaluate, ``[k, D]``, by default of all: rows, unless there are personal ones."""
        return self.engine.models(nodes)

    def rows_to_send(self) -> Tensor:
        """Rows as nodes would send them next, ``[N, D]``: in rounds, after training; hostile nodes' own rows."""
        return self.rows()

    @abstractmethod
    def ages(self) -> NDArray[np.int64]:
        """Ages of all models, ``[N]``."""

    @abstractmethod
    def steps(self) -> NDArray[np.int64]:
        """Training steps that each node has done, ``[N]``."""

    @abstractmethod
    def online(self) -> NDArray[np.bool_]:
        """Nodes that are online, bool ``[N]``."""

    def seconds(self, rounds: float) -> float:
        """Simulated seconds after a number of rounds."""
        return rounds * self._scenario.network.period

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Totals since the start, as columns of the records.

        ``messages``: models sent, those lost included; in rounds, whatever an exchange sends to one neighbour.
        ``requests`` for models. ``lost`` in transit. ``unreachable``: the receiver was offline, or on the other
        side of a split. ``bytes`` sent, as on the wire. ``updates``: models absorbed, and those that gates
        ``refused``, where there are gates. ``failed_sums``: masked sums that too many dropped out of.
        """

    def decisions(self) -> dict[str, int]:
        """Decisions of all gates since the start, by their reasons."""
        return {}

    def observed(self) -> dict[str, NDArray[np.float64]]:
        """What an algorithm in rounds measured of each node in the last round, ``[N]``."""
        return {}

    def measured(self, world: World, evaluator: Evaluator, among: NDArray[np.bool_]) -> Measured:
        """Evaluate models; ``among``, bool ``[N]``, are those that count where all are measured together."""
        return measured(self, world, evaluator, among)

    def stored(self) -> Sequence[Stored | NDArray[np.generic]]:
        """Models of all nodes as they are kept."""
        return self.engine.stored()

    @abstractmethod
    def state(self) -> Arrays:
        """All that a checkpoint needs."""

    @abstractmethod
    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint."""

    def close(self) -> None:
        """End the threads."""
        self.engine.close()
