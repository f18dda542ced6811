"""Replay a row at a time: the calls that the peers made, with the threads they had.

The same functions on the same numbers: on the machine of the run the outcome is identical to the last bit.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import torch

from gossipfl.algorithms import Message
from gossipfl.training import Nodes
from sims.engine.workers import torch_threads
from sims.replay.departure import Departure
from sims.replay.errors import TornRecords
from sims.replay.history import History, Step
from sims.replay.learning import Learning, Learnings
from sims.replay.lives import LOSS_TOLERANCE, Version, rounded_otherwise
from sims.replay.sending import Senders, parts_of

__all__ = ["replay_rows"]

_ALL_OF_ONE = np.zeros(1, dtype=np.int64)


def replay_rows(history: History, learnings: Learnings) -> tuple[dict[Version, Nodes], int, Departure | None]:
    """Compute a history one event after the other.

    Returns
    -------
    targets : dict of Version to Nodes
        ``B = 1`` each.
    waves : int
        0: see `sims.replay.batched_replay.replay_batched`.
    departure : Departure or None
        The first training whose loss is not the one recorded.

    Raises
    ------
    TornRecords
        If an age or step counter is not the one recorded.
    """
    reads = Counter(version for step in history.steps for version in step.reads)
    reads.update(history.targets)
    kept: dict[Version, Nodes] = {}
    current: dict[tuple[str, int], Nodes] = {}
    departure: Departure | None = None
    tolerance = LOSS_TOLERANCE if rounded_otherwise(history.lives) else 0.0
    senders = Senders(history.lives)
    with torch_threads(None), torch.no_grad():
        for number, step in enumerate(history.steps):
            version, life = step.version, step.life
            if torch.get_num_threads() != life.threads:
                torch.set_num_threads(life.threads)
            learning = learnings.of(life, None if step.event is None else step.event.number)
            source = kept[step.source] if step.source is not None else None
            if step.event is None:
                nodes = learning.first_nodes(life) if source is None else learning.resumed(source)
            else:
                begun = kept[step.begun] if step.begun is not None else None
                nodes, loss = _computed(step, learning, current[version[:2]], source, begun, senders=senders)
                recorded = step.event.loss
                differs = loss != recorded and not math.isnan(loss + recorded)
                if departure is None and differs and not abs(loss - recorded) <= tolerance * abs(recorded):
                    departure = Departure(version, number, "loss", recorded, loss)
            for read in step.reads:
                reads[read] -= 1
                if not reads[read]:
                    del kept[read]
            current[version[:2]] = nodes
            if reads[version]:
                kept[version] = nodes
    return {target: kept[target] for target in history.targets}, 0, departure


def _computed(
    step: Step,
    learning: Learning,
    before: Nodes,
    source: Nodes | None,
    begun: Nodes | None,
    *,
    senders: Senders,
) -> tuple[Nodes, float]:
    event = step.event
    assert event is not None  # noqa: S101 - the caller's
    loss = float("nan")

    def update(nodes: Nodes) -> Nodes:
        nonlocal loss
        if not event.trained:
            return nodes
        nodes, losses = learning.trainer.train(nodes, _ALL_OF_ONE)
        loss = float(losses[0])
        return nodes

    def received(message: Message) -> Message:
        message = senders.as_received(message, [event])
        age = int(message.ages.max())
        if age != event.sender_age:
            raise _contradiction(step, "sender_age", event.sender_age, age)
        return senders.as_let_in(message, before.rows, [event])

    parts = parts_of([event])
    after = learning.after(
        event, before, source=source, begun=begun, parts=parts, received=received, update=update
    )
    for what, recorded, came in (("age", event.age, after.ages), ("step", event.step, after.steps)):
        if recorded != int(came.max()):
            raise _contradiction(step, what, recorded, int(came.max()))
    return after, loss


def _contradiction(step: Step, what: str, recorded: int, came: int) -> TornRecords:
    return TornRecords(
        f"the {what} at {step.version} is not the one recorded",
        expected=recorded,
        got=came,
        remedy="The records are of another version of gossipfl, were edited, or are of different runs.",
    )
