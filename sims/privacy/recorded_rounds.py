"""Linear runs of recorded peers that learned in rounds, from the records in their homes.

Each round is run again on coefficients, by the peers' own algorithm and weights, with the rows that were merged:
the records say who dropped out and whose row came too late, so that its weight stayed with the receiver.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.algorithms import RoundContext, RoundInProgress
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.rounds import at_rest
from gossipfl.training import Nodes
from gossipfl.training.optimisers import optimiser_of
from sims.privacy.coefficients import NOT_A_WIDTH, stacked, with_parts
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.recorded_exchanges import RecordedExchanges, Seen
from sims.privacy.source_noise import SourceNoise
from sims.privacy.symbolic_noise import Draws, SymbolicNoise
from sims.privacy.symbolic_training import SymbolicTraining
from sims.replay.lives import RecordedPeer, Version
from sims.replay.removed import require_kept
from sims.replay.round_records import Key, who_does_what

__all__ = ["recorded_rounds"]

Slot = Key | Version
"""A start as it is now, or a version that was saved."""


def recorded_rounds(
    peers: Sequence[RecordedPeer], *, rounding: Collection[str], deviation: float | None = None
) -> LinearRun:
    """Find the linear run of peers that learned in rounds, one node each, in the order given.

    Its values are the gradients of all training steps. A peer has seen the rows that it merged, and those sent to
    it that were not merged, which may have arrived too late. Of masked sums it has seen the sum.

    Parameters
    ----------
    peers : sequence of RecordedPeer
    rounding : collection of str
        Codecs that round, and hide nothing.
    deviation : float, optional
        Of noise on rows that leave, instead of all that happened to them.

    Raises
    ------
    NotAccountable
        If something they did is not linear.
    MissingPeer, TornRecords, RecordsRemoved
        If records are missing or contradict one another.
    """
    run = _RecordedRounds(RecordedExchanges(peers, rounding, deviation), peers)
    doing = who_does_what(run.lives, lambda key: run.plans[key].roster.members)
    if not doing:
        raise NotAccountable("no round is recorded", expected="peers that did at least one")
    ends = (min(doing), max(doing))
    with torch.no_grad():
        stages = [run.stage(number, sorted(doing[number]), check=number in ends) for number in sorted(doing)]
    return LinearRun(
        nodes=len(peers),
        owners=np.array(run.owners, dtype=np.int64),
        stages=stages,
        noise=SourceNoise.of_sources(run.private, run.others, run.sequences),
    )


@dataclass
class _Pass:
    """What one pass through a round led to and showed."""

    nodes: dict[Slot, Nodes]
    training: dict[Key, SymbolicTraining]
    draws: Draws
    seen: list[Seen]


class _RecordedRounds:
    """All starts of all peers, round by round."""

    def __init__(self, exchanges: RecordedExchanges, peers: Sequence[RecordedPeer]) -> None:
        self.exchanges = exchanges
        self.lives, self.plans, self.places = (
            self.exchanges.lives,
            self.exchanges.plans,
            self.exchanges.places,
        )
        self._saved = {each.life.resumed for each in self.lives.values() if each.life.resumed is not None}
        require_kept(peers, self._saved)
        self.owners: list[int] = []
        self.others: list[int] = []
        self.private: list[bool] = []
        self.sequences: list[int] = []
        self._starts = {key: number for number, key in enumerate(self.lives)}
        self._state: dict[Slot, Nodes] = {}
        self._events = {key: each.life.first for key, each in self.lives.items()}

    def stage(self, number: int, keys: Sequence[Key], *, check: bool) -> Stage:
        """Do a round, and return it as a stage."""
        before = sum(len(stacked(nodes)) for nodes in self._state.values())
        idle = torch.zeros(before, NOT_A_WIDTH, dtype=torch.float64)
        tried = self._pass(number, keys, idle, {}, idle[:0])
        counts = {key: len(each.taken) for key, each in tried.training.items()}
        drawn, taken = tried.draws.drawn, before + sum(counts.values())
        width = taken + len(drawn)
        units = torch.eye(width, max(width, NOT_A_WIDTH), dtype=torch.float64)
        done = self._pass(
            number, keys, units[:before], _dealt(units[before:taken], counts), units[taken:width]
        )
        transition = torch.cat([stacked(nodes) for nodes in done.nodes.values()])[:, :width]
        if check:
            self._require_linear(number, keys, transition, counts, noise=len(drawn))
        rows = [each.row[:width] for each in done.seen]
        first = len(self.owners)
        whose = [key for key, count in counts.items() for _ in range(count)]
        self.owners += [*(self.places[key[0]] for key in whose), *(node for node, _ in drawn)]
        self.others += [*(-1 for _ in whose), *(other for _, other in drawn)]
        self.private += [*(True for _ in whose), *(False for _ in drawn)]
        self.sequences += [*(self._starts[key] for key in whose), *(-1 for _ in drawn)]
        self._state = done.nodes
        for key in keys:
            if number in self.lives[key].outcomes:
                self._events[key] = number + 1
        return Stage(
            transition=csr_array(transition.numpy()),
            observed=csr_array(torch.stack(rows).numpy() if rows else np.zeros((0, width))),
            senders=np.array([each.sender for each in done.seen], dtype=np.int64),
            receivers=np.array([each.receiver for each in done.seen], dtype=np.int64),
            values=np.arange(first, len(self.owners)),
            **_hidden(done.seen, len(self.places)),
        )

    def _require_linear(
        self, number: int, keys: Sequence[Key], transition: Tensor, counts: Mapping[Key, int], *, noise: int
    ) -> None:
        generator = torch.Generator().manual_seed(number)
        width = transition.shape[1]
        numbers = torch.randn(width, NOT_A_WIDTH, dtype=torch.float64, generator=generator)
        taken = width - noise
        before = taken - sum(counts.values())
        dealt = _dealt(numbers[before:taken], counts)
        after = self._pass(number, keys, numbers[:before], dealt, numbers[taken:]).nodes
        found = torch.cat([stacked(nodes) for nodes in after.values()])
        if not torch.allclose(found, transition @ numbers, rtol=1e-6, atol=1e-9):
            raise NotAccountable(
                f"{self.plans[keys[0]].name!r} is not linear in its rows",
                remedy="Choose an algorithm that averages, such as d_psgd.",
            )

    def _pass(
        self,
        number: int,
        keys: Sequence[Key],
        rows: Tensor,
        gradients: Mapping[Key, Tensor],
        noise: Tensor,
    ) -> _Pass:
        """Run a round on rows that stand for the state, on the gradients that each start takes, and on noise."""
        draws = Draws(noise)
        parts = torch.split(rows, [len(stacked(nodes)) for nodes in self._state.values()])
        nodes: dict[Slot, Nodes] = {
            slot: with_parts(each, part)
            for (slot, each), part in zip(self._state.items(), parts, strict=True)
        }
        training: dict[Key, SymbolicTraining] = {}
        begun: dict[Key, Nodes] = {}
        running: dict[Key, RoundInProgress] = {}
        for key in keys:
            self._begin(key, nodes, width=rows.shape[1])
            self._save(key, nodes, upto=number)
        for key in keys:
            recorded, plan = self.lives[key], self.plans[key]
            first = recorded.mixes.get((number, 0))
            begun[key] = at_rest(nodes[key]) if first is not None and first.listening else nodes[key]
            training[key] = SymbolicTraining(
                recorded.life.settings.training,
                samples=torch.tensor([recorded.life.data[0].samples if recorded.life.data else 1]),
                enabled=not recorded.rests(number),
                gradients=gradients.get(key, rows[:0]),
            )
            context = RoundContext(
                local=training[key],
                shared_size=rows.shape[1],
                round=number,
                numbers=torch.tensor([plan.number]),
                seed=plan.seed,
                links=plan.links(number),
                given_noise=SymbolicNoise(
                    draws,
                    [self.places[key[0]]],
                    link=self.exchanges.link(key, number),
                    rests=recorded.rests(number),
                ),
            )
            running[key] = RoundInProgress(plan.algorithm, begun[key], context)
        seen = self.exchanges.carry_out(number, running, draws, width=rows.shape[1])
        for key in keys:
            outcome = self.lives[key].outcomes.get(number)
            if outcome is None:
                continue  # it was killed before it could say so; nobody knows of this model
            after = running[key].nodes
            nodes[key] = replace(begun[key], steps=after.steps) if outcome.gave_up else after
            if int(nodes[key].ages[0]) != outcome.age:
                raise NotAccountable(
                    f"the age after round {number} of {key[0]} is not the one recorded",
                    expected=outcome.age,
                    got=int(nodes[key].ages[0]),
                )
        return _Pass(nodes, training, draws, seen)

    def _begin(self, key: Key, nodes: dict[Slot, Nodes], *, width: int) -> None:
        """Let a start begin, if it has not, from zeros or from what was saved."""
        if key in nodes:
            return
        life = self.lives[key].life
        size = optimiser_of(life.settings.training).state_size(width)
        if life.resumed is not None:
            if life.resumed not in nodes:  # it had done nothing since
                self._begin(life.resumed[:2], nodes, width=width)
                nodes[life.resumed] = nodes[life.resumed[:2]]
            nodes[key] = nodes[life.resumed].with_optimiser_state(size)
            return
        plan = self.plans[key]
        zeros = torch.zeros(1, width, dtype=torch.float64)
        fresh = Nodes.start(zeros, optimiser_state_size=size)
        nodes[key] = start_nodes(plan.algorithm, fresh, shared_size=width, links=plan.links(0))

    def _save(self, key: Key, nodes: dict[Slot, Nodes], *, upto: int) -> None:
        """Keep what later starts resume from: the model as it is now, up to the round that comes."""
        for version in self._saved:
            now = self._events[key] <= version.event <= upto
            if version[:2] == key and now and version not in nodes:
                nodes[version] = nodes[key]


def _hidden(seen: Sequence[Seen], peers: int) -> dict[str, Any]:
    """Who is needed beside the receivers to see rows, where somebody is."""
    if not any(each.needed for each in seen):
        return {}
    holders = np.zeros((len(seen), peers))
    for place, each in enumerate(seen):
        holders[place, list(each.holders)] = 1.0
    return {
        "needed": np.array([each.needed for each in seen], dtype=np.int64),
        "holders": csr_array(holders),
    }


def _dealt(gradients: Tensor, counts: Mapping[Key, int]) -> dict[Key, Tensor]:
    """Gradients in the order in which starts are done, by start."""
    return dict(zip(counts, torch.split(gradients, list(counts.values())), strict=True))
