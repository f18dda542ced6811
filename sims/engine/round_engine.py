"""The engine of round-based simulations: local computation and exchanges of all nodes, round after round."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import AnyExchange, Mixed, RoundContext, run_round
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.algorithms.requirements import unmet
from gossipfl.attacks import Attack, Poisoned, SameToAll
from gossipfl.codecs import FLOAT32
from gossipfl.outgoing import Pipeline
from gossipfl.secure import FixedPoint
from gossipfl.training import Nodes
from gossipfl.training.nodes import before_rest
from sims.clock import RoundTimes, clock_of, failures_of
from sims.engine.device import device_of
from sims.engine.engine import Phases
from sims.engine.exchange import Exchanges
from sims.engine.hostile import HostileNodes
from sims.engine.local import BlockTraining
from sims.engine.masked_sums import MaskedSums
from sims.engine.part import Everybody, Part
from sims.engine.programme import Compile
from sims.engine.workers import torch_threads
from sims.errors import NotSimulable
from sims.scenario.outgoing import outgoing_of
from sims.world import World
from sims.world.networks import RoundNetwork
from topology.sequences import MixingSequence

__all__ = ["RoundEngine", "absent_as_before"]

_STATE = ("rows", "ages", "steps", "optimiser_state")


class RoundEngine:
    """The models of a round-based simulation.

    Parameters
    ----------
    world : World
    network : RoundNetwork or MixingSequence
        One mixing matrix per round, and cliques if there are any.
    expected_rounds : float
    threads : int
    compile_when : {'auto', 'always', 'never'}
    device : str
    part : Part, optional
        The nodes whose models are here; by default all.

    Raises
    ------
    NotSimulable
        If the scenario's algorithm does not run in rounds, or requires something the network lacks.
    """

    def __init__(
        self,
        world: World,
        network: RoundNetwork | MixingSequence,
        *,
        expected_rounds: float = 0.0,
        threads: int = 1,
        compile_when: Compile = "auto",
        device: str = "cpu",
        part: Part | None = None,
    ) -> None:
        scenario, section = world.scenario, world.scenario.algorithm
        network = network if isinstance(network, RoundNetwork) else RoundNetwork(network)
        if not section.in_rounds:
            raise NotSimulable(f"{section.name!r} does not run in rounds")
        self.algorithm = section.of_rounds(world.layout).for_members(scenario.population.nodes)
        outgoing = outgoing_of(scenario)
        wanting = unmet(
            section.name,
            self.algorithm.requirements,
            network.sequence,
            cliques=network.cliques is not None,
            training=scenario.training,
            outgoing=outgoing,
        )
        if wanting is not None:
            raise NotSimulable(wanting.what, expected=wanting.expected, remedy=wanting.remedy)
        self.part = part = part or Everybody(scenario.population.nodes)
        self.world, self.device = part.world(world), device_of(device)
        self.hostile = self._hostile_nodes(outgoing)
        self.round, self.phases = 0, Phases()
        self.away = np.zeros(scenario.population.nodes, dtype=np.bool_)
        self.local = BlockTraining(
            self.world,
            expected_rounds=expected_rounds,
            threads=threads,
            compile_when=compile_when,
            device=self.device,
            phases=self.phases,
        )
        self.exchanges = Exchanges(
            network.sequence,
            cliques=network.cliques,
            complete=network.complete,
            seed=scenario.seed,
            device=self.device,
            outgoing=outgoing,
            hostile=self.hostile,
            masked_sums=self._masked_sums(outgoing),
            workers=self.local.blocks.workers,
            pushes=self.algorithm.requirements.stochastic == "columns",
            part=part,
        )
        self._numbers = torch.from_numpy(part.numbers).to(self.device)
        start = Nodes.start(
            self._first_rows().expand(len(part.numbers), -1).contiguous(),
            optimiser_state_size=world.trainer.optimiser_state_size,
        )
        self.exchanges.begin(0)
        ends = self.exchanges.links() if self.algorithm.requirements.links else None
        self.clock = clock_of(world, network, self.algorithm, outgoing=outgoing, links=ends)
        self.nodes = start_nodes(
            self.algorithm,
            replace(
                start,
                rows=start.rows.to(self.device),
                ages=start.ages.to(self.device),
                steps=start.steps,
                optimiser_state=start.optimiser_state.to(self.device),
            ),
            shared_size=world.layout.shared_size,
            links=ends,
        )
        if self.algorithm.requirements.server and failures_of(scenario) and self.nodes.auxiliary:
            raise NotSimulable(
                f"churn: {section.name} keeps numbers of its server at the nodes, which absent ones would lack",
                remedy="Leave churn out, or choose fedavg.",
            )

    def _first_rows(self) -> Tensor:
        """Rows before any training, ``[B, D]`` or ``[1, D]``; a server's model is the first node's of all."""
        rows, shared = self.world.first_rows(), self.world.layout.shared_size
        if not self.algorithm.requirements.server or self.world.task.start == "common":
            return rows
        first = self.world.task.initial_row(0)[None, :shared].to(rows.dtype)
        return before_rest(first.expand(len(rows), -1), rows)

    def _masked_sums(self, outgoing: Pipeline) -> MaskedSums | None:
        section = self.world.scenario.masked_sums
        if section is None:
            return None
        if self.hostile is not None or self.algorithm.requirements.stochastic == "columns":
            raise NotSimulable(
                "masked_sums: the algorithm sends mass that must not be lost, or the attack is on rows",
                expected="an algorithm that averages rows, such as d_psgd, and honest nodes",
            )
        if outgoing.codec not in (None, FLOAT32):
            raise NotSimulable(
                f"masked_sums: rows are sent as masked integers, and not as {outgoing.codec.name}",
                remedy="Leave the codec out; send fewer numbers with kind = 'mask'.",
            )
        if self.device.type != "cpu":
            raise NotSimulable("masked_sums are computed on the CPU", got=self.device.type)
        ring = FixedPoint(largest=section.range)
        return MaskedSums(ring=ring, drop_out=section.drop_out, seed=self.world.scenario.seed)

    def _hostile_nodes(self, outgoing: Pipeline) -> HostileNodes | None:
        scenario, section = self.world.scenario, self.world.scenario.attack
        attack = None if section is None else section.build()
        if section is None or attack is None or isinstance(attack, Poisoned):
            return None
        requirements = self.algorithm.requirements
        if requirements.links or requirements.cliques or requirements.server:
            raise NotSimulable(
                f"attack {section.name!r} is on rows that nodes send to all their neighbours, and "
                f"{scenario.algorithm.name!r} sends others",
                remedy="Choose the attack label_flip, or an algorithm such as d_psgd.",
            )
        if type(attack).claim is not Attack.claim:
            raise NotSimulable(
                f"attack {section.name!r} is in the ages of models, and rows of rounds have none",
                remedy="Choose another attack, or an algorithm such as gossip_learning.",
            )
        if outgoing.mask is not None and isinstance(attack, SameToAll) and attack.start(torch.zeros(1, 1)):
            raise NotSimulable(
                f"attack {section.name!r} sends old rows, and outgoing has a mask that changes",
                remedy="Leave the mask out, or choose another attack.",
            )
        return HostileNodes(
            attack,
            ~self.world.honest,
            here=self.part.numbers,
            from_round=section.from_round,
            seed=scenario.seed,
            device=self.device,
        )

    def run_round(self) -> int:
        """Do one round; return the number of its messages."""
        before, nodes = self.exchanges.messages, self.nodes
        times = self._times()
        if times is not None and times.attending.idle.all():  # nobody is there
            self.round += 1
            return 0
        if times is None:
            self.exchanges.begin(self.round)
        else:
            self.exchanges.begin(self.round, missing=times.missing, away=times.attending.away)
        context = RoundContext(
            local=self.local if self.hostile is None else self.hostile.training(self.local),
            shared_size=self.world.layout.shared_size,
            round=self.round,
            numbers=self._numbers,
            seed=self.world.scenario.seed,
            links=self.exchanges.links() if self.algorithm.requirements.links else None,
            participants=self._participants(),
        )
        with torch_threads():
            self.nodes = run_round(self.algorithm, nodes, context, self._carried_out)
        done = len(self.nodes)
        if times is not None and times.attending.away.any():
            away = torch.from_numpy(times.attending.away[self.part.numbers])
            done -= int(away.sum())
            of_server = self.algorithm.requirements.server  # whose model the absent find when they come back
            received = self.world.layout.shared_size if of_server else 0
            self.nodes = absent_as_before(away.to(self.device), nodes, self.nodes, received=received)
        self.round += 1
        self.phases.updates += done
        return self.exchanges.messages - before

    def _participants(self) -> Tensor | None:
        """Which of the nodes here take part in the round, bool ``[B]``; None if all do."""
        everybody, seed = torch.arange(len(self.away)), self.world.scenario.seed
        drawn = self.algorithm.participants(everybody, seed=seed, number=self.round)
        return None if drawn is None else drawn.to(self.device).index_select(0, self._numbers)

    def _times(self) -> RoundTimes | None:
        """What the round that is next comes to in real time."""
        if self.clock is None:
            return None
        times = self.clock.round(self.round)
        self.away = times.attending.away
        return times

    def seconds_after(self, rounds: int) -> float:
        """When the last node was done with so many rounds, in simulated seconds."""
        if self.clock is None:
            return rounds * self.world.scenario.network.period
        return self.clock.seconds[rounds - 1] if rounds else 0.0

    def catch_up(self) -> None:
        """Let the clock go on from the start to the round at which a checkpoint without its state was made."""
        at, self.round = self.round, 0
        while self.round < at:
            self._times()
            self.round += 1

    def _carried_out(self, exchange: AnyExchange) -> Mixed:
        started = time.perf_counter()
        mixed = self.exchanges(exchange)
        self.phases.prepare += time.perf_counter() - started
        return mixed

    def rows(self) -> Tensor:
        """Rows of all nodes, ``[N, D]``."""
        return self.nodes.rows

    def rows_in_parts(self) -> Tensor:
        """The same."""
        return self.nodes.rows

    def models(self, nodes: NDArray[np.int64] | None = None) -> Tensor:
        """Models of nodes to use and to evaluate, ``[k, D]``; by default of all N."""
        return self.nodes.models if nodes is None else self.nodes.models[nodes.tolist()]

    def stored(self) -> list[NDArray[np.generic]]:
        """Models of all nodes as they are kept."""
        return [self.models().cpu().numpy()]

    def close(self) -> None:
        """End the threads."""
        self.local.close()


def absent_as_before(stays: Tensor, before: Nodes, after: Nodes, *, received: int = 0) -> Nodes:
    """Nodes after a round; those that stay, bool ``[N]``, as before it but for the first numbers, `received`."""
    if received:
        before = replace(before, rows=torch.cat([after.rows[:, :received], before.rows[:, received:]], dim=1))

    def of(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(stays.to(one.device).view(-1, *(1,) * (one.dim() - 1)), one, other)

    same = {name: of(getattr(before, name), getattr(after, name)) for name in _STATE}
    auxiliary = {name: of(before.auxiliary[name], kept) for name, kept in after.auxiliary.items()}
    return replace(after, **same, auxiliary=auxiliary)
