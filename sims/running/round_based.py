"""Simulations of algorithms in rounds: a mixing sequence, and the engine that runs its rounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes
from sims.engine import RoundEngine
from sims.engine.engine import Arrays
from sims.engine.part import Part
from sims.engine.programme import Compile
from sims.engine.workers import torch_threads
from sims.errors import NotSimulable
from sims.running.simulation import Simulation
from sims.scenario import Scenario
from sims.world import World
from sims.world.networks import RoundNetwork, round_network

__all__ = ["AUXILIARY", "CLOCK", "OPTIMISER_STATE", "RoundBased"]

AUXILIARY = "auxiliary."
"""Names of arrays that an algorithm keeps begin with this in a checkpoint."""

CLOCK = "clock."
"""Names of arrays of a clock begin with this in a checkpoint."""

OPTIMISER_STATE = "momentum"
"""Name of optimiser states in a checkpoint, from before there were other optimisers."""

ATTACK = "attack."
FAILED_SUMS = "failed_sums"
_ABSENT = f"{CLOCK}absent"


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
        part: Part | None = None,
    ) -> None:
        _refuse_what_rounds_have_not(scenario)
        self._scenario = scenario
        self.engine = RoundEngine(
            world,
            mixing or round_network(scenario, class_counts=world.class_counts),
            expected_rounds=scenario.stop.rounds,
            threads=threads,
            compile_when=compile_when,
            device=device,
            part=part,
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
        failed = {} if exchanges.masked_sums is None else {FAILED_SUMS: exchanges.masked_sums.failed}
        return {
            "messages": exchanges.messages,
            **{"requests": 0, "lost": lost, "unreachable": late},
            "bytes": exchanges.bytes,
            "updates": self.phases.updates,
            **failed,
        }

    def observed(self) -> dict[str, NDArray[np.float64]]:
        """What the algorithm measured of each node in the last round, ``[N]``."""
        kept = self.engine.nodes.auxiliary
        return {name: kept[name][:, 0].double().cpu().numpy() for name in self.engine.algorithm.measures}

    def state(self) -> Arrays:
        """All that a checkpoint needs."""
        nodes, exchanges, hostile = self.engine.nodes, self.engine.exchanges, self.engine.hostile
        return {
            **{f"{AUXILIARY}{name}": kept.cpu().numpy() for name, kept in nodes.auxiliary.items()},
            **(
                {}
                if hostile is None
                else {f"{ATTACK}{k}": v.cpu().numpy() for k, v in hostile.state().items()}
            ),
            "rows": nodes.rows.cpu().numpy(),
            "ages": nodes.ages.cpu().numpy(),
            OPTIMISER_STATE: nodes.optimiser_state.cpu().numpy(),
            "steps": nodes.steps.cpu().numpy(),
            "progress": np.array(
                [self.engine.round, exchanges.messages, exchanges.bytes, self.phases.updates]
            ),
            **(
                {} if exchanges.masked_sums is None else {FAILED_SUMS: np.array(exchanges.masked_sums.failed)}
            ),
            **self._state_of_clock(),
        }

    def _state_of_clock(self) -> Arrays:
        clock = self.engine.clock
        if clock is None:
            return {}
        kept = {f"{CLOCK}{name}": array for name, array in clock.state().items()}
        return {**kept, _ABSENT: self.engine.away.copy()}

    def restore(self, state: Arrays) -> None:
        """Continue from a checkpoint."""
        device, exchanges = self.engine.device, self.engine.exchanges
        self.engine.nodes = Nodes(
            rows=torch.from_numpy(state["rows"]).to(device),
            ages=torch.from_numpy(state["ages"]).to(device),
            steps=torch.from_numpy(state["steps"]).to(device),
            optimiser_state=torch.from_numpy(state[OPTIMISER_STATE]).to(device),
            auxiliary={
                name.removeprefix(AUXILIARY): torch.from_numpy(kept).to(device)
                for name, kept in state.items()
                if name.startswith(AUXILIARY)
            },
        )
        if self.engine.hostile is not None:
            self.engine.hostile.restore(
                {
                    name.removeprefix(ATTACK): torch.from_numpy(kept)
                    for name, kept in state.items()
                    if name.startswith(ATTACK)
                }
            )
        if exchanges.masked_sums is not None:
            exchanges.masked_sums.failed = int(state[FAILED_SUMS])
        self.engine.round, exchanges.messages, exchanges.bytes, self.phases.updates = (
            int(value) for value in state["progress"]
        )
        if self.engine.clock is None:
            return
        if _ABSENT not in state:  # of an earlier version
            self.engine.catch_up()
            return
        kept = {name.removeprefix(CLOCK): each for name, each in state.items() if name.startswith(CLOCK)}
        self.engine.clock.restore(kept)
        self.engine.away = np.array(state[_ABSENT], dtype=np.bool_)


def _refuse_what_rounds_have_not(scenario: Scenario) -> None:
    """Refuse what is not simulated in rounds."""
    present = {
        "engine.rows": scenario.engine.is_compact,
        "engine.paged_to": scenario.engine.paged_to is not None,
        "gate": scenario.gate is not None and scenario.gate.enabled,
    }
    named = [name for name, there in present.items() if there]
    if named:
        raise NotSimulable(
            f"{scenario.algorithm.name!r} runs in rounds, so {', '.join(named)} would be without effect",
            remedy="Leave them out, or choose a message-driven algorithm such as 'gossip_learning'. In rounds, "
            "rules such as 'gts' withstand hostile neighbours.",
        )
