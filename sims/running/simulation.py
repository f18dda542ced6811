"""Simulations in progress, advanced by events or by rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes
from sims.compiler.timeline import Timeline, Window, conditions_of, ticks
from sims.engine import Engine, Phases, RoundEngine
from sims.engine.engine import Arrays
from sims.engine.programme import Compile
from sims.engine.receiving import engine_of
from sims.engine.workers import torch_threads
from sims.errors import NotSimulable
from sims.scenario import Scenario
from sims.scenario.network import CycleChurn, NoChurn
from sims.world import World
from sims.world.networks import NeighbourLists, RoundNetwork, neighbour_lists, round_network

__all__ = ["MessageDriven", "RoundBased", "Simulation", "simulation_of"]

_AUXILIARY = "auxiliary."
_ATTACK = "attack."
_OPTIMISER_STATE = "momentum"  # its name in files from before there were other optimisers


class Simulation(ABC):
    """A simulation as a run sees it: advanced, and measured.

    Attributes
    ----------
    during : callable
        Told now and then while it advances how many rounds are done.
    """

    _scenario: Scenario
    engine: Engine | RoundEngine
    during: Callable[[float], None] = staticmethod(lambda rounds: None)

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

    @abstractmethod
    def state(self) -> Arrays:
        """All that a checkpoint needs."""

    @abstractmethod
    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint."""

    def close(self) -> None:
        """End the threads."""
        self.engine.close()


def simulation_of(
    scenario: Scenario,
    world: World,
    *,
    threads: int,
    compile_when: Compile,
    device: str,
    mixing: RoundNetwork | None = None,
    neighbours: NeighbourLists | None = None,
) -> Simulation:
    """Set up the simulation of a scenario.

    Parameters
    ----------
    scenario, world, threads, compile_when, device
        As in `sims.running.run`.
    mixing : RoundNetwork, optional
        Who averages what in rounds; by default as the scenario's topology says.
    neighbours : NeighbourLists, optional
        The same for a message-driven algorithm.

    Raises
    ------
    InvalidScenario, NotSimulable, MalformedTrace
        If its parts do not fit together.
    """
    if scenario.algorithm.in_rounds:
        return RoundBased(
            scenario, world, threads=threads, compile_when=compile_when, device=device, mixing=mixing
        )
    return MessageDriven(
        scenario, world, threads=threads, compile_when=compile_when, device=device, neighbours=neighbours
    )


class MessageDriven(Simulation):
    """A timeline, and the engine that executes it."""

    engine: Engine

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        *,
        threads: int,
        compile_when: Compile,
        device: str,
        neighbours: NeighbourLists | None = None,
    ) -> None:
        if scenario.masked_sums is not None:
            raise NotSimulable(
                f"masked_sums are of rounds, and {scenario.algorithm.name!r} is message-driven",
                remedy="Leave the table out, or choose an algorithm such as d_psgd.",
            )
        indptr, indices = neighbours or neighbour_lists(scenario, class_counts=world.class_counts)
        conditions = conditions_of(
            scenario,
            indptr=indptr,
            indices=indices,
            message_bytes=world.message_bytes,
            numbers=world.trainer.data.numbers,
        )
        self._scenario, self._world = scenario, world
        self._timeline = Timeline(conditions)
        self.engine = engine_of(
            world,
            indptr=indptr,
            expected_updates=scenario.population.nodes * scenario.stop.rounds,
            threads=threads,
            compile_when=compile_when,
            device=device,
        )

    def advance(self, rounds: float, *, between: Callable[[], bool]) -> bool:
        """Execute windows until ``rounds``."""
        for window in self._timeline.windows(ticks(self.seconds(rounds))):
            self.engine.during = self._share_of(window)
            self._timeline.kept(self.engine.execute(window))
            if between():
                return False
        self._require_same_ages()
        return True

    def _share_of(self, window: Window) -> Callable[[float], None]:
        """Tell of the rounds that are done when a share of a window is."""
        first, last = (float(window.time[place]) if len(window) else 0.0 for place in (0, -1))
        period = ticks(self._scenario.network.period)
        return lambda share: self.during((first + share * (last - first)) / period)

    def _require_same_ages(self) -> None:
        """Refuse an algorithm whose ages are others than those by which its messages were sent."""
        expected, table = self._timeline.ages, self.engine.table
        if expected is None:
            return
        got = table.ages[: table.n].reshape(-1).cpu().numpy()
        if not np.array_equal(expected, got):
            node = int(np.flatnonzero(expected != got)[0]) // (len(got) // table.n)
            raise NotSimulable(
                f"models of {self._scenario.algorithm.name!r} have other ages than its behaviour declares, and "
                "token accounts go by these",
                got=f"{got.reshape(table.n, -1)[node].max()} at node {node}",
                expected=f"{expected.reshape(table.n, -1)[node].max()}",
                remedy='Correct Behaviour.ages, or set flow.useful = "all".',
            )

    def ages(self) -> NDArray[np.int64]:
        """Ages of all models, ``[N]``."""
        ages = self.engine.table.ages[: self.engine.table.n].cpu().numpy()
        return ages if ages.ndim == 1 else ages.max(axis=1)

    def steps(self) -> NDArray[np.int64]:
        """Training steps that each node has done, ``[N]``."""
        return self.engine.table.steps[: self.engine.table.n]

    def online(self) -> NDArray[np.bool_]:
        """Nodes that are online, bool ``[N]``."""
        return self._timeline.online

    def counts(self) -> dict[str, int]:
        """Totals since the start."""
        counts = self._timeline.counts
        return {
            "messages": counts["sent"],
            **{name: counts[name] for name in ("requests", "lost", "unreachable")},
            "bytes": counts["sent"] * self._world.message_bytes,
            "updates": self.phases.updates,
            **self.engine.refused,
        }

    def decisions(self) -> dict[str, int]:
        """Decisions of all gates since the start, by their reasons."""
        return self.engine.decisions

    def state(self) -> Arrays:
        """All that a checkpoint needs."""
        return {
            **{f"timeline.{name}": array for name, array in self._timeline.state().items()},
            **self.engine.state(),
            "updates": np.array([self.phases.updates]),
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint."""
        prefix = "timeline."
        self._timeline.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.engine.restore(state)
        self.phases.updates = int(state["updates"][0])


class RoundBased(Simulation):
    """A mixing sequence, and the engine that runs its rounds."""

    engine: RoundEngine

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        *,
        threads: int,
        compile_when: Compile,
        device: str,
        mixing: RoundNetwork | None = None,
    ) -> None:
        _refuse_what_rounds_have_not(scenario)
        self._scenario, self._world = scenario, world
        self.engine = RoundEngine(
            world,
            mixing or round_network(scenario, class_counts=world.class_counts),
            expected_rounds=scenario.stop.rounds,
            threads=threads,
            compile_when=compile_when,
            device=device,
        )

    def rows_to_send(self) -> Tensor:
        """Rows of all nodes after the training of the next round, ``[N, D]``."""
        engine = self.engine
        local = engine.local if engine.hostile is None else engine.hostile.training(engine.local)
        with torch_threads(), torch.no_grad():
            return local.update(engine.nodes).rows

    def advance(self, rounds: float, *, between: Callable[[], bool]) -> bool:
        """Do rounds until ``rounds`` are done."""
        while self.engine.round < rounds:
            self.engine.run_round()
            self.during(self.engine.round)
            if between():
                return False
        return True

    def ages(self) -> NDArray[np.int64]:
        """Ages of all models, ``[N]``."""
        return self.engine.nodes.ages.cpu().numpy()

    def steps(self) -> NDArray[np.int64]:
        """Training steps that each node has done, ``[N]``."""
        return self.engine.nodes.steps.cpu().numpy()

    def online(self) -> NDArray[np.bool_]:
        """Nodes that are online, bool ``[N]``: in rounds, those that did not sit out the last."""
        return ~self.engine.away

    def seconds(self, rounds: float) -> float:
        """Simulated seconds after so many rounds, which are done."""
        return self.engine.seconds_after(int(rounds))

    def counts(self) -> dict[str, int]:
        """Totals since the start: what was lost, and what was not there in time; masked sums may fail, too."""
        exchanges, clock = self.engine.exchanges, self.engine.clock
        lost, late = (0, 0) if clock is None else (clock.lost, clock.late)
        failed = {} if exchanges.masked_sums is None else {"failed_sums": exchanges.masked_sums.failed}
        return {
            "messages": exchanges.messages,
            **{"requests": 0, "lost": lost, "unreachable": late},
            "bytes": exchanges.bytes,
            "updates": self.phases.updates,
            **failed,
        }

    def state(self) -> Arrays:
        """All that a checkpoint needs."""
        nodes, exchanges, hostile = self.engine.nodes, self.engine.exchanges, self.engine.hostile
        return {
            **{f"{_AUXILIARY}{name}": kept.cpu().numpy() for name, kept in nodes.auxiliary.items()},
            **(
                {}
                if hostile is None
                else {f"{_ATTACK}{k}": v.cpu().numpy() for k, v in hostile.state().items()}
            ),
            "rows": nodes.rows.cpu().numpy(),
            "ages": nodes.ages.cpu().numpy(),
            _OPTIMISER_STATE: nodes.optimiser_state.cpu().numpy(),
            "steps": nodes.steps.cpu().numpy(),
            "progress": np.array(
                [self.engine.round, exchanges.messages, exchanges.bytes, self.phases.updates]
            ),
            **(
                {}
                if exchanges.masked_sums is None
                else {"failed_sums": np.array(exchanges.masked_sums.failed)}
            ),
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint."""
        device, exchanges = self.engine.device, self.engine.exchanges
        self.engine.nodes = Nodes(
            rows=torch.from_numpy(state["rows"]).to(device),
            ages=torch.from_numpy(state["ages"]).to(device),
            steps=torch.from_numpy(state["steps"]).to(device),
            optimiser_state=torch.from_numpy(state[_OPTIMISER_STATE]).to(device),
            auxiliary={
                name.removeprefix(_AUXILIARY): torch.from_numpy(kept).to(device)
                for name, kept in state.items()
                if name.startswith(_AUXILIARY)
            },
        )
        if self.engine.hostile is not None:
            self.engine.hostile.restore(
                {
                    name.removeprefix(_ATTACK): torch.from_numpy(kept)
                    for name, kept in state.items()
                    if name.startswith(_ATTACK)
                }
            )
        if exchanges.masked_sums is not None:
            exchanges.masked_sums.failed = int(state["failed_sums"])
        self.engine.round, exchanges.messages, exchanges.bytes, self.phases.updates = (
            int(value) for value in state["progress"]
        )
        self.engine.catch_up()


def _refuse_what_rounds_have_not(scenario: Scenario) -> None:
    """Refuse what has no meaning in rounds, or is not simulated there."""
    churn = scenario.churn
    present = {
        "network.jitter": scenario.network.jitter > 0,
        "churn.process": not isinstance(churn.process, NoChurn | CycleChurn),
        "churn.events": bool(churn.events),
        "engine.rows": scenario.engine.is_compact,
    }
    named = [name for name, there in present.items() if there]
    if named:
        raise NotSimulable(
            f"{scenario.algorithm.name!r} runs in rounds, so {', '.join(named)} would be without effect",
            remedy="Leave them out (churn of rounds is a process of the kind 'cycle'), or choose a message-driven "
            "algorithm such as 'gossip_learning'.",
        )
