"""With what a recorded peer learned: its task, its data, its training, as the peer itself assembles them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gossipfl.algorithms import GossipRule, gossip_rule
from gossipfl.peer.assembly import first_state, read_data, trainer_of
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.training import Nodes, Trainer
from sims.replay.errors import OtherTask
from sims.replay.peer_records import Life, RecordedPeer

__all__ = ["Learning", "Learnings", "with_momentum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How one start of a peer learned.

    Parameters
    ----------
    task : Task
        With the options of this peer.
    data : Dataset
        The peer's own.
    trainer : Trainer
        Over that data, ``N = 1``.
    algorithm : GossipRule
    """

    task: Task
    data: Dataset
    trainer: Trainer
    algorithm: GossipRule

    def first_nodes(self, life: Life) -> Nodes:
        """The model before any training, ``B = 1``."""
        return first_state(self.task, self.trainer, life.settings).nodes


class Learnings:
    """How every start of every peer learned; each task is made, and its data read, once for each peer.

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
        self._tasks: dict[tuple[str, str], tuple[Task, Dataset]] = {}
        lives = [life for peer in peers for life in peer.lives.values()]
        for life in lives:
            if (life.task, life.layout) != (lives[0].task, lives[0].layout):
                raise OtherTask(
                    "the peers did not learn the same task",
                    expected=f"task {lives[0].task[:16]} of peer {lives[0].peer}",
                    got=f"task {life.task[:16]} in start {life.incarnation} of peer {life.peer}",
                    remedy="Replay the networks of different tasks one by one.",
                )
        for life in lives:
            self.of(life)

    def of(self, life: Life) -> Learning:
        """How this start learned."""
        settings = life.settings
        task_key = (settings.task.name, repr(sorted(settings.task.options.items())))
        key = (*task_key, settings.training, settings.gossip, settings.runtime.number)
        if key not in self._known:
            task, data = self._task(task_key, life)
            self._known[key] = Learning(
                task=task,
                data=data,
                trainer=trainer_of(task, data, settings),
                algorithm=gossip_rule(settings.gossip),
            )
        return self._known[key]

    def _task(self, key: tuple[str, str], life: Life) -> tuple[Task, Dataset]:
        if key not in self._tasks:
            settings = life.settings.task
            task = find_task(settings.name, settings.options)
            for what, recorded, found in (
                ("task", life.task, task.fingerprint.hex()),
                ("layout", life.layout, task.layout.digest.hex()),
            ):
                if recorded != found:
                    raise OtherTask(
                        f"the {what} of {settings.name!r} is not the one peer {life.peer} learned",
                        expected=recorded[:16],
                        got=found[:16],
                        remedy="Use the version of the task's module that the peers used.",
                    )
            self._tasks[key] = (task, read_data(task))
        return self._tasks[key]


def with_momentum(nodes: Nodes, size: int) -> Nodes:
    """Nodes as a start takes them over: with empty momentum if it was turned on or off in between."""
    if nodes.momentum.shape[1] == size:
        return nodes
    return Nodes(
        rows=nodes.rows, ages=nodes.ages, steps=nodes.steps, momentum=nodes.rows.new_zeros(len(nodes), size)
    )
