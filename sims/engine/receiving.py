"""The engine of simulations with gates or hostile nodes: wave by wave, through `Receipts`.

What is let in of a message is written to a further place of the table, from where blocks take it as usual. A
refused model changes nothing, and one that must not set the pace of training is merged without any. So only then
it is known how many steps a node has done, and which batch is its next. What hostile nodes say in place of their
models is kept in a second table, in the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.algorithms import Message
from gossipfl.algorithms.messages import MOMENTUM
from gossipfl.outgoing import IN_FULL, Pipeline
from gossipfl.training import Nodes
from gossipfl.training.nodes import before_rest
from sims.compiler.operations import ON_ANSWER, ON_RECEIPT
from sims.compiler.timeline import TICKS_PER_SECOND, Window
from sims.engine.arranging import Arranged
from sims.engine.blocks import Blocks, padded
from sims.engine.engine import Arrays, Engine
from sims.engine.programme import Compile
from sims.engine.told import Told
from sims.world import World
from sims.world.lies import Lies
from sims.world.receipts import Arrivals, Receipts, Received, receipts_of

__all__ = ["RECEIPTS", "ReceivingEngine", "engine_of"]

Ints = NDArray[np.int64]
RECEIPTS = "receipts."
"""Names of arrays of gates and hostile nodes begin with this in a state."""


class ReceivingEngine(Engine):
    """The models of a message-driven simulation with gates or hostile nodes.

    Parameters
    ----------
    world : World
    receipts : Receipts
    others
        As of `Engine`.
    """

    _needs_no_window = False

    def __init__(
        self,
        world: World,
        *,
        receipts: Receipts,
        expected_updates: float = 0.0,
        threads: int = 1,
        block: int | None = None,
        compile_when: Compile = "auto",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            world,
            expected_updates=expected_updates,
            threads=threads,
            block=block,
            compile_when=compile_when,
            device=device,
        )
        self.receipts = receipts
        self._merging = replace(self._updates[0], operation=self._groups.training, train=False)
        self._operations = np.array([group.operation for group in self._groups.all])
        self._size = world.layout.shared_size
        self._here: Ints = np.asarray(world.trainer.data.numbers)  # their numbers in the network
        self._told = None if receipts.lies is None else self._first_lies(receipts.lies)

    @property
    def decisions(self) -> dict[str, int]:
        """Decisions of all gates so far, by their reasons."""
        return dict(self.receipts.counts)

    @property
    def refused(self) -> dict[str, int]:
        """How many models gates have ``refused``."""
        return {"refused": self.receipts.refused}

    def state(self) -> Arrays:
        """All that changes, as named arrays, for a checkpoint."""
        told = {} if self._told is None else self._told.state()
        further = {f"{RECEIPTS}{name}": array for name, array in (self.receipts.state() | told).items()}
        return {**super().state(), **further}

    def restore(self, state: Arrays) -> None:
        """Continue from a value of `state`."""
        super().restore(state)
        further = {
            name.removeprefix(RECEIPTS): array for name, array in state.items() if name.startswith(RECEIPTS)
        }
        self.receipts.restore(further)
        if self._told is not None:
            self._told.restore(further)

    def beside(self, places: Ints) -> tuple[NDArray[np.generic], ...]:
        """What goes with models at some places to where they are received, besides rows and ages."""
        versions = self.table.versions[places]
        return (versions,) if self._told is None else (versions, *self._told.taken(places))

    def put_beside(self, places: Ints, came: Sequence[NDArray[np.generic]]) -> None:
        """Take in a value of `beside`."""
        self.table.versions[places] = came[0]
        if self._told is not None:
            self._told.follow(self.table)
            self._told.put(places, came[1:])

    def _outgoing(self) -> Pipeline:
        return IN_FULL  # receipts have done it

    def _run_waves(self, arranged: Arranged) -> None:
        waves, window = arranged.waves, arranged.window
        ends = waves.group_ends.reshape(-1)
        kinds = waves.group_ends.shape[1]
        group = np.repeat(np.tile(np.arange(kinds), len(waves)), np.diff(ends, prepend=0))
        columns = np.stack([waves.node, waves.source, waves.part, waves.keep, 0 * waves.step, waves.begun])
        scratch, bounds = self.table.n + 1 + waves.slots, [0, *waves.group_ends[:, -1].tolist()]
        self.table.make_room(waves.slots + int(np.diff(bounds).max(initial=0)))
        if self._told is not None:
            self._told.follow(self.table)
            self._told.copy(waves.first_node, waves.first_keep)
        for start, end in pairwise(bounds):
            events = waves.event[start:end]
            self._run_wave(columns[:, start:end], group[start:end], window, events, scratch=scratch)
            self.during(end / bounds[-1])

    def _run_wave(self, columns: Ints, group: Ints, window: Window, events: Ints, *, scratch: int) -> None:
        operation = self._operations[group]
        is_training, is_merged = operation == self._groups.training, np.ones(len(group), dtype=bool)
        arriving = np.flatnonzero(operation >= ON_RECEIPT)
        if len(arriving):
            received = self._received(columns[:, arriving], window, events[arriving], scratch=scratch)
            columns[1, arriving] = scratch + np.arange(len(arriving))
            is_merged[arriving] = received.is_merged
            # What was begun when the clock rang ends with the answer, whoever gave it.
            goes_on = received.is_trained_on | (received.is_merged & (operation[arriving] == ON_ANSWER))
            is_training[arriving] &= goes_on
        seconds = window.time[events] / TICKS_PER_SECOND
        if self.receipts.lies is not None:
            is_training &= ~self.receipts.lies.are_idle(self._here[columns[0]], seconds)
        only_merged = is_merged & ~is_training & (operation == self._groups.training)
        self._run_blocks(columns, group, is_merged & ~only_merged)
        self._merge(columns[:, only_merged])
        self._leave(columns[:, ~is_merged])
        node, keep, versions = columns[0], columns[3], self.table.versions
        versions[node[is_merged]] += 1
        kept = keep != self.table.n
        versions[keep[kept]] = versions[node[kept]]
        if self._told is not None:
            self._lie(node[is_merged], seconds[is_merged])
            self._told.copy(node[kept], keep[kept])
        if self.world.scenario.training.enabled:
            self.table.steps[node[is_training]] += self.world.scenario.training.local_steps

    def _run_blocks(self, columns: Ints, group: Ints, chosen: NDArray[np.bool_]) -> None:
        cells = [np.flatnonzero(chosen & (group == each)) for each in range(len(self._groups.all))]
        cut = [padded(columns[:, cell], size=self.block, n=self.table.n) for cell in cells]
        groups = np.repeat(np.arange(len(cut)), [len(each) for each in cut]).tolist()
        if groups:
            self._run(Blocks(columns=np.concatenate(cut), group=groups, wave_ends=[len(groups)]))

    def _merge(self, columns: Ints) -> None:
        """Merge without training."""
        if columns.shape[1]:
            table, placed = self.table, torch.from_numpy(columns).to(self.device)
            outcome = self._merging(table.rows, table.ages, table.kept, self._counters(), placed)
            table.write(placed, columns, outcome)

    def _leave(self, columns: Ints) -> None:
        """Leave nodes as they are, but keep their rows where they will be sent from."""
        node, keep = columns[0], columns[3]
        kept = keep != self.table.n
        if kept.any():
            self.table.copy(*(torch.from_numpy(each[kept]).to(self.device) for each in (node, keep)))

    def _first_lies(self, lies: Lies) -> Told:
        told, nodes = Told.of(self.table, self._size), np.flatnonzero(lies.hostile[self._here])
        self._told = told
        self._lie(nodes, np.zeros(len(nodes)))
        return told

    def _lie(self, nodes: Ints, seconds: NDArray[np.float64]) -> None:
        """Make the lies of those nodes that are hostile for new versions of their models."""
        lies, told = self.receipts.lies, self._told
        assert lies is not None and told is not None  # noqa: S101 - made together
        nodes = nodes[lies.changed(self._here[nodes], seconds)]
        if len(nodes):
            places = torch.from_numpy(nodes).to(self.device)
            rows, ages = self.table.rows[places, : self._size], self.table.ages[places]
            told.write(nodes, *lies.told(self._here[nodes], rows, ages))

    def _received(self, columns: Ints, window: Window, events: Ints, *, scratch: int) -> Received:
        """Receive messages, and write them to the places from ``scratch`` on, as they are to be merged."""
        table, (node, source, part) = self.table, columns[:3]
        receivers, sources = (torch.from_numpy(each).to(self.device) for each in (node, source))
        own_kept = table.kept.index_select(0, receivers)
        steps = self._counters().index_select(0, receivers)

        def gathered(places: torch.Tensor) -> Nodes:
            rows, ages = table.rows.index_select(0, places), table.ages.index_select(0, places)
            return self.packing.unpack(rows, own_kept, ages=ages, steps=steps)

        sent, peer = gathered(sources), window.peer[events].astype(np.int64)
        senders = np.where(peer < 0, -1 - peer, peer)
        message = self.world.message_algorithm.emit(
            sent, shared_size=self._size, part=torch.from_numpy(part).to(self.device)
        )
        are_lies = np.zeros(len(node), dtype=bool)
        if self._told is not None:
            are_lies = self._told.is_lie[source] & self.world.honest[self._here[node]]
            message = self._told.instead(message, sources, torch.from_numpy(are_lies).to(self.device))
        received = self.receipts(
            gathered(receivers),
            message,
            Arrivals(
                receivers=node,
                senders=senders,
                versions=table.versions[source],
                are_answers=peer < 0,
                seconds=window.time[events] / TICKS_PER_SECOND,
                parts=part,
                are_lies=are_lies,
            ),
        )
        packed, _ = self.packing.pack(_with_message(sent, received.message))
        places = slice(scratch, scratch + len(node))
        table.rows[places], table.ages[places] = packed, received.message.ages
        return received


def engine_of(world: World, *, indptr: Ints, **options: Any) -> Engine:
    """Make the engine of a scenario.

    Parameters
    ----------
    world : World
    indptr : ndarray
        Of the neighbour lists, int64 ``[N + 1]``; empty for the complete graph.
    options
        Of `Engine`.
    """
    receipts = receipts_of(world, indptr=indptr)
    return (
        Engine(world, **options) if receipts is None else ReceivingEngine(world, receipts=receipts, **options)
    )


def _with_message(nodes: Nodes, message: Message) -> Nodes:
    """Nodes in the state that their message tells of."""
    carried = dict(message.carried)
    momentum = carried.pop(MOMENTUM, None)
    state = nodes.optimiser_state if momentum is None else before_rest(momentum, nodes.optimiser_state)
    return replace(
        nodes,
        rows=before_rest(message.shared, nodes.rows),
        ages=message.ages,
        optimiser_state=state,
        auxiliary={**nodes.auxiliary, **carried},
    )
