"""Task, data and training of recorded peers, as the peers themselves assemble them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from gossipfl.algorithms import Message, MessageAlgorithm, adopt, go_back, resumed
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt
from gossipfl.algorithms.messages import Update
from gossipfl.peer.assembly import first_state, trainer_of
from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.tasks.samples import describe, joined, signature
from gossipfl.training import NodeData, Nodes, Trainer, without_constants
from sims.errors import NotSimulable
from sims.replay.errors import KeyboardSealed, NotRecomputable, OtherTask
from sims.replay.lives import Event, Life, RecordedData, RecordedPeer

__all__ = ["Learning", "Learnings", "pooled_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How one start of a peer learned."""

    task: Task
    """With the options of this peer."""
    data: Dataset
    """The peer's own."""
    trainer: Trainer
    """Over that data, ``N = 1``."""
    algorithm: MessageAlgorithm
    """Of a peer that learned in rounds it is the one it would gossip by."""

    def without(self, constant: frozenset[str]) -> Learning:
        """The same, with rows that leave out tensors of these names, as the peers' own did."""
        task, trainer = without_constants(self.task, self.trainer, constant)
        return replace(self, task=task, trainer=trainer)

    def first_nodes(self, life: Life) -> Nodes:
        """The model before any training, ``B = 1``."""
        return self.resumed(first_state(self.task, self.trainer, life.settings).nodes)

    def after(
        self,
        event: Event,
        nodes: Nodes,
        *,
        source: Nodes | None,
        begun: Nodes | None,
        parts: Tensor | None,
        received: Callable[[Message], Message],
        update: Update,
    ) -> Nodes:
        """Compute the outcome of an event for a model, or of similar events for several.

        Parameters
        ----------
        event : Event
        nodes : Nodes
            B nodes before it.
        source, begun : Nodes or None
            What it read, as recorded.
        parts : Tensor or None
            Which part of each source was sent, int64 ``[B]``, if not all of it.
        received : callable
            Gives messages as they were decoded.
        update : callable
            Local training, if there was any.
        """
        size = self.task.layout.shared_size
        if event.kind == "clock":
            return on_clock(self.algorithm, nodes, shared_size=size, update=update)
        if source is None:
            return update(nodes)
        if event.kind == "go_back":
            return go_back(nodes, source)
        message = received(self.algorithm.emit(source, shared_size=size, part=parts))
        if event.kind == "adopt":
            return adopt(nodes, message)
        if begun is None:
            return on_receipt(self.algorithm, nodes, message, update=update)
        return on_answer(self.algorithm, nodes, message, begun, update=update)

    def resumed(self, nodes: Nodes) -> Nodes:
        """A saved model, as a start resumes from it."""
        return resumed(nodes, self.algorithm, optimiser_state_size=self.trainer.optimiser_state_size)


class Learnings:
    """The training of every start of every peer; each task is built, and its data read, once per peer.

    Parameters
    ----------
    peers : sequence of RecordedPeer

    Raises
    ------
    OtherTask
        If the peers did not learn the same task, or the task found here is another.
    UnknownTask, InvalidTask
        If a task cannot be found or made.
    """

    def __init__(self, peers: Sequence[RecordedPeer]) -> None:
        self._known: dict[tuple[Any, ...], Learning] = {}
        self._constant: frozenset[str] = frozenset()  # what all rows leave out
        self._tasks: dict[tuple[str, str], tuple[Task, Dataset]] = {}
        lives = [life for peer in peers for life in peer.lives.values()]
        for life in lives:
            if life.layout != lives[0].layout or not self._is_of_one_task(life, lives[0]):
                raise OtherTask(
                    "the peers did not learn the same task",
                    expected=f"task {lives[0].task[:16]} of peer {lives[0].peer}",
                    got=f"task {life.task[:16]} in start {life.incarnation} of peer {life.peer}",
                    remedy="Replay the networks of different tasks one by one.",
                )
        kept = [self.of(life).trainer.gradients.constant for life in lives]
        self._constant = frozenset.intersection(*kept) if kept else frozenset()
        self._known = {key: learning.without(self._constant) for key, learning in self._known.items()}

    def of(self, life: Life, event: int | None = None) -> Learning:
        """How this start learned; of data that grew, in the event of this number, or at first.

        Raises
        ------
        OtherTask
            If the data found here are not those it trained on.
        KeyboardSealed
            If it trained on what its owner typed.
        NotRecomputable
            If it drew noise in secret.
        """
        recorded = life.data_of(life.first + 1 if event is None else event)
        settings = life.settings
        if settings.keyboard.enabled:
            raise KeyboardSealed.of(life.peer)
        _require_known_draws(life)
        key = (
            *_task_key(life),
            settings.training,
            settings.gossip,
            settings.exchange,
            settings.runtime.number,
            recorded and recorded.samples,
        )
        if key not in self._known:
            task, data = self._task(life)
            if recorded is not None:
                data = _as_recorded(data, recorded, life)
            learning = Learning(
                task=task,
                data=data,
                trainer=trainer_of(task, data, settings),
                algorithm=gossip_algorithm(settings),
            )
            self._known[key] = learning.without(self._constant)
        return self._known[key]

    def _is_of_one_task(self, life: Life, other: Life) -> bool:
        """Whether both learned one task; peers that were upgraded have named it anew."""
        if life.task == other.task:
            return True
        task, _ = self._task(life)
        return task.is_known_as(life.task) and task.is_known_as(other.task)

    def _task(self, life: Life) -> tuple[Task, Dataset]:
        key = _task_key(life)
        if key not in self._tasks:
            settings = life.settings.task
            task = find_task(
                settings.name,
                settings.options,
                metrics=settings.metrics,
                directory=life.settings.runtime.modules,
            )
            for what, recorded, found, is_same in (
                ("task", life.task, task.fingerprint.hex(), task.is_known_as(life.task)),
                ("layout", life.layout, task.layout.digest.hex(), life.layout == task.layout.digest.hex()),
            ):
                if not is_same:
                    raise OtherTask(
                        f"the {what} of {settings.name!r} is not the one peer {life.peer} learned",
                        expected=recorded[:16],
                        got=found[:16],
                        remedy="Use the version of the task's module that the peers used.",
                    )
            self._tasks[key] = (task, task.dataset())
        return self._tasks[key]


def _task_key(life: Life) -> tuple[str, str]:
    settings = life.settings.task
    return settings.name, repr(sorted(settings.options.items()))


def _require_known_draws(life: Life) -> None:
    privacy = life.settings.training.privacy
    if privacy is not None and privacy.secret:
        raise NotRecomputable(
            f"peer {life.peer} drew batches and the noise of its training in secret, and kept no record of them",
            remedy="To replay a rehearsal, set training.privacy.secret = false; whoever knows training.seed can "
            "then take the noise off.",
        )


def _as_recorded(data: Dataset, recorded: RecordedData, life: Life) -> Dataset:
    """Data as they were then, without what was added later."""
    there = data.samples >= recorded.samples
    if there and data.fingerprint(recorded.samples) == recorded.fingerprint:
        return data if data.samples == recorded.samples else data.first(recorded.samples)
    raise OtherTask(
        f"the data of peer {life.peer} are not those it trained on after event {recorded.after}",
        expected=f"{recorded.samples} samples with fingerprint {recorded.fingerprint}",
        got=f"{data.samples} samples, {data.fingerprint(recorded.samples)}",
        remedy="Replay where the peer's own data are, and keep old samples before new ones.",
    )


def pooled_data(own: Sequence[Dataset], numbers: Sequence[int]) -> NodeData:
    """Hold the samples of several starts in one pool, those of the same data once.

    Parameters
    ----------
    own : sequence of Dataset
        The data of each start.
    numbers : sequence of int
        Number by which the batches of each are drawn.

    Raises
    ------
    NotSimulable
        If they differ in shape or dtype, so that they make no pool.
    """
    known = {id(data): data for data in own}
    if len({signature((data.train_inputs, data.train_targets)) for data in known.values()}) > 1:
        raise NotSimulable(
            "the peers' samples differ in shape or dtype and cannot be batched",
            got=", ".join(sorted({describe((d.train_inputs, d.train_targets)) for d in known.values()})),
            remedy="Replay a row at a time: leave out --batched.",
        )
    firsts = dict(zip(known, np.cumsum([0, *(data.samples for data in known.values())]), strict=False))
    return NodeData.partitioned(
        joined([data.train_inputs for data in known.values()]),
        joined([data.train_targets for data in known.values()]),
        [firsts[id(data)] + np.arange(data.samples, dtype=np.int64) for data in own],
        numbers=np.array(numbers, dtype=np.int64),
    )
