"""Replay in batches: a recorded run compiled to waves, like a drawn one, and computed many rows at a time.

Every start of a peer is a node. A merge takes in a snapshot of the sender's state, and so does a start that
goes on from a checkpoint. All of a node's state is in its row, because a checkpoint has all of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import Message
from gossipfl.algorithms.messages import MOMENTUM
from gossipfl.training import Nodes, Trainer
from sims.compiler.operations import EMIT, ON_ANSWER, ON_CLOCK, ON_RECEIPT
from sims.compiler.timeline import Window
from sims.compiler.waves import Waves, compile_waves
from sims.engine.workers import torch_threads
from sims.errors import NotSimulable
from sims.replay.departure import Departure
from sims.replay.history import History, Step
from sims.replay.learning import Learning, Learnings, pooled_data
from sims.replay.lives import LOSS_TOLERANCE, Life, Version
from sims.replay.sending import Senders, parts_of
from sims.rows.packing import Packing

__all__ = ["replay_batched"]

_MOST_NUMBERS = 2**25  # of a wave's rows: some of them exist a few times while it is computed


def replay_batched(
    history: History, learnings: Learnings
) -> tuple[dict[Version, Nodes], int, Departure | None]:
    """Compute a history in waves of events that do not depend on each other.

    All peers' samples are held in one pool, and the module and loss of the first peer serve for all: peers
    of one task have them in common.

    Returns
    -------
    targets : dict of Version to Nodes
        ``B = 1`` each.
    waves : int
        How many there were.
    departure : Departure or None
        The first training whose loss differs from the recorded one by more than 1e-4, relative.

    Raises
    ------
    NotSimulable
        If the peers' samples differ in shape or dtype, so that they make no pool.
    """
    run = _Run(history, learnings)
    waves = run.compiled()
    with torch_threads(), torch.no_grad():
        return run.executed(waves), len(waves), run.departure


class _Run:
    """Rows of all nodes and snapshots, and the means to update them."""

    def __init__(self, history: History, learnings: Learnings) -> None:
        self.history = history
        self.senders = Senders(history.lives)
        self.learning: list[Learning] = [_learning(learnings, life) for life in history.lives]
        self.node_of = {(life.peer, life.incarnation): i for i, life in enumerate(history.lives)}
        self.manners = [
            (life.settings.training, repr(each.algorithm))
            for life, each in zip(history.lives, self.learning, strict=True)
        ]
        self.layout = self.learning[0].task.layout
        self.data = pooled_data(
            [each.data for each in self.learning], [life.number for life in history.lives]
        )
        self.trainers: dict[object, Trainer] = {}
        self.departure: Departure | None = None
        self.kinds: dict[object, int] = {}
        self.kind_of_step = np.array([self._kind(step) for step in history.steps], dtype=np.int64)
        firsts = [each.first_nodes(life) for each, life in zip(self.learning, history.lives, strict=True)]
        self.packings = [Packing.of(first, (MOMENTUM, *first.auxiliary)) for first in firsts]
        shapes = {first.ages.shape[1:] for first in firsts}
        if len(shapes) > 1:
            raise NotSimulable(
                "peers divided their models differently before and after a start, and cannot be batched",
                remedy="Replay a row at a time: leave out --batched.",
            )
        [self.age_shape] = shapes
        self.width = max(packing.width for packing in self.packings)
        self.first_rows = [
            packing.pack(first)[0][0] for packing, first in zip(self.packings, firsts, strict=True)
        ]

    def _kind(self, step: Step) -> int:
        """Number of a step's kind of work: steps of one kind are computed together."""
        versions = [step.version]
        if step.source is not None:  # whose state may be laid out otherwise
            versions.append(step.source)
        what = None if step.event is None else (step.event.kind, step.event.trained)
        key = (what, *(self.manners[self.node_of[version[:2]]] for version in versions))
        return self.kinds.setdefault(key, len(self.kinds))

    def compiled(self) -> Waves:
        """Write the history as operations, and order them as waves."""
        read = {version for step in self.history.steps for version in step.reads}
        read |= set(self.history.targets)
        operations: list[tuple[int, int, int, int, int]] = []  # kind, node, ref, number of the step, begun
        emitted: dict[Version, int] = {}
        for number, step in enumerate(self.history.steps):
            node = self.node_of[step.version[:2]]
            if step.source is not None and step.begun is not None:
                operations.append((ON_ANSWER, node, emitted[step.source], number, emitted[step.begun]))
            elif step.source is not None:
                operations.append((ON_RECEIPT, node, emitted[step.source], number, 0))
            elif step.event is not None:
                operations.append((ON_CLOCK, node, 0, number, 0))
            if step.version in read:
                emitted[step.version] = len(operations)
                operations.append((EMIT, node, 0, number, 0))
        kind, nodes, ref, steps, begun = np.array(operations, dtype=np.int64).reshape(-1, 5).T
        window = Window(
            kind=kind.astype(np.uint8),
            node=nodes.astype(np.int32),
            ref=ref.copy(),
            part=steps.astype(np.int32),
            begun=begun.copy(),
            time=np.arange(len(operations), dtype=np.int64),
            pending=np.array([emitted[target] for target in self.history.targets], dtype=np.int64),
        )
        return compile_waves(
            window,
            np.zeros(len(self.learning), dtype=np.int64),
            capacity=int(np.clip(_MOST_NUMBERS // self.width, 1, 4096)),
        )

    def executed(self, waves: Waves) -> dict[Version, Nodes]:
        """Compute all waves; the targets."""
        n = len(self.learning)
        places = n + 1 + waves.slots
        rows = torch.zeros(places, self.width)
        ages = torch.zeros(places, *self.age_shape, dtype=torch.int64)
        steps = torch.zeros(places, dtype=torch.int64)
        self.table = (rows, ages, steps)
        for node, row in enumerate(self.first_rows):
            rows[node, : len(row)] = row
        first_node, first_keep = torch.from_numpy(waves.first_node), torch.from_numpy(waves.first_keep)
        rows[first_keep] = rows[first_node]
        start = 0
        for end in waves.group_ends[:, -1]:
            kinds = self.kind_of_step[waves.part[start:end]]
            for kind in np.unique(kinds):  # a wave reads no row that it overwrites, but each update its own
                where = start + np.flatnonzero(kinds == kind)
                nodes = self._updated(waves, where)
                packed, _ = self.packings[waves.node[where[0]]].pack(nodes)
                for chosen in (waves.node[where], waves.keep[where]):
                    place = torch.from_numpy(chosen)
                    rows[place, : packed.shape[1]] = packed
                    rows[place, packed.shape[1] :] = 0
                    ages[place], steps[place] = nodes.ages, nodes.steps
            start = end
        return {
            target: self._at(
                np.array([n - ref]), self.node_of[target[:2]]
            )  # −1 − slot names the place n + 1 + slot
            for target, ref in zip(self.history.targets, waves.pending, strict=True)
        }

    def _at(self, places: NDArray[np.int64], node: int) -> Nodes:
        """The state at some places, packed as that of a node."""
        place = torch.from_numpy(places)
        rows, ages, steps = (tensor[place] for tensor in self.table)
        packing = self.packings[node]
        return packing.unpack(rows[:, : packing.width], rows[:, :0], ages=ages, steps=steps)

    def _updated(self, waves: Waves, where: NDArray[np.int64]) -> Nodes:
        """The new states of the nodes in some updates of one kind."""
        own = waves.node[where]
        chosen = [self.history.steps[number] for number in waves.part[where]]
        first, node = chosen[0], int(own[0])
        event, learning, source = first.event, self.learning[node], None
        if first.source is not None:
            source = self._at(waves.source[where], self.node_of[first.source[:2]])
        if event is None:
            assert source is not None  # noqa: S101 - starts that do not go on from another have no updates
            return learning.resumed(source)

        def update(nodes: Nodes) -> Nodes:
            if not event.trained:
                return nodes
            nodes, losses = self._trainer(node).train(nodes, own)
            self._watch(chosen, waves.part[where], losses)
            return nodes

        events = [step.event for step in chosen if step.event is not None]  # of one kind, so all
        before = self._at(own, node)

        def received(message: Message) -> Message:
            return self.senders.as_let_in(self.senders.as_received(message, events), before.rows, events)

        return learning.after(
            event,
            before,
            source=source,
            begun=None if event.begun is None else self._at(waves.begun[where], node),
            parts=parts_of(events),
            received=received,
            update=update,
        )

    def _watch(self, chosen: list[Step], numbers: NDArray[np.int64], losses: Tensor) -> None:
        """Remember the first training whose outcome differs from the record."""
        recorded = np.array([step.event.loss if step.event else np.nan for step in chosen])
        here = losses.double().numpy()
        for index in np.flatnonzero(np.abs(here - recorded) > LOSS_TOLERANCE * np.abs(recorded)):
            if self.departure is None or numbers[index] < self.departure.number:
                version, there = chosen[index].version, float(recorded[index])
                self.departure = Departure(version, int(numbers[index]), "loss", there, float(here[index]))

    def _trainer(self, node: int) -> Trainer:
        """One trainer for all nodes with the same settings, over the pool of all samples."""
        settings = self.history.lives[node].settings.training
        if settings not in self.trainers:
            self.trainers[settings] = Trainer.of(self.learning[0].task, self.data, settings)
        return self.trainers[settings]


def _learning(learnings: Learnings, life: Life) -> Learning:
    if len({data.samples for data in life.data}) > 1:
        raise NotSimulable(
            f"the data of peer {life.peer} grew while it ran, and cannot be batched",
            got=", ".join(f"{data.samples} samples after event {data.after}" for data in life.data),
            remedy="Replay a row at a time: leave out --batched.",
        )
    return learnings.of(life)
