"""The one owner of a peer's model: merges what arrives, trains in between, and publishes snapshots.

Invariant: only `Learner.run` replaces the state, and states are values. Whatever else needs the model (an
exchange, an evaluation, a checkpoint) takes the state of the moment and is never waited for. Every published
state is finite: a model that diverges goes back to the last good one before anybody sees it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trio
from torch import Tensor

from gossipfl.algorithms import ADPSGD, GossipRule, Message, adopt, go_back, take_in
from gossipfl.codecs import is_finite
from gossipfl.errors import GossipflError, InvalidTask
from gossipfl.peer.threads import run_abandonable
from gossipfl.training import Nodes, Trainer

__all__ = ["Incoming", "Learner", "State"]

logger = logging.getLogger(__name__)

_ALL_OF_ONE = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A model that arrived.

    Parameters
    ----------
    shared : Tensor
        Shape ``[shared_size]``, float32, all finite.
    age : int
    sender : str
        Peer id.
    incarnation, event : int
        Which version of the sender's model it is.
    sequence : int
        Which of the sender's messages since its start; what the codec drew at random depends on it.
    codec : str
        How it was sent; a replay must lose the same precision.
    begun : State, optional
        If it is an answer: this peer's own model as it was sent with the question.
    """

    shared: Tensor
    age: int
    sender: str
    incarnation: int
    sequence: int
    event: int
    codec: str
    begun: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A version of the model.

    Parameters
    ----------
    nodes : Nodes
        ``B = 1``.
    event : int
        Number of the event that made it.
    merges_pending : int
        Models merged since the last training.
    loss : float
        Mean loss of the batches of the last training; NaN before the first.
    has_gone_back : bool
        Whether the model diverged, went back to an earlier one, and has not been trained since.
    """

    nodes: Nodes
    event: int = 0
    merges_pending: int = 0
    loss: float = float("nan")
    has_gone_back: bool = False

    @property
    def age(self) -> int:
        """Training steps the model descends from."""
        return int(self.nodes.ages[0])

    @property
    def step(self) -> int:
        """Training steps this peer has done."""
        return int(self.nodes.steps[0])


class Learner:
    """Owns the model of a peer.

    Parameters
    ----------
    state : State
        Where learning starts.
    trainer : Trainer
        Over this peer's own data.
    algorithm : GossipRule
    merges_per_training : int
        Models merged between two trainings, in gossip learning.
    patience : float
        Seconds without training after which the peer trains on its own model.
    mailbox : int
        Models that may wait.
    record : callable
        Takes one record for each event, in order; called from the worker thread.
    """

    def __init__(
        self,
        *,
        state: State,
        trainer: Trainer,
        algorithm: GossipRule,
        merges_per_training: int,
        patience: float,
        mailbox: int,
        record: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._state = state
        self._trainer = trainer
        self._algorithm = algorithm
        self._merges_per_training = merges_per_training
        self._patience = patience
        self._record = record
        self._good = state
        self.divergences = 0
        self._outbox, self._inbox = trio.open_memory_channel[Incoming](mailbox)

    @property
    def state(self) -> State:
        """The newest version of the model; a value, safe to keep."""
        return self._state

    @property
    def mailbox_is_full(self) -> bool:
        """Whether the learner is behind and would refuse a model now."""
        statistics = self._outbox.statistics()
        return statistics.current_buffer_used >= statistics.max_buffer_size

    def keep(self, state: State) -> None:
        """Note that this state is saved: to it the model goes back if it diverges."""
        self._good = state

    def offer(self, incoming: Incoming) -> bool:
        """Put a model into the mailbox.

        Returns
        -------
        bool
            False if it is full; the model is not taken.
        """
        try:
            self._outbox.send_nowait(incoming)
        except trio.WouldBlock:
            return False
        return True

    async def run(self) -> None:
        """Merge and train for ever, one thread's work at a time; cancel it to stop."""
        last_training = trio.current_time()
        while True:
            batch: list[Incoming] = []
            with trio.move_on_at(last_training + self._patience):
                batch.append(await self._inbox.receive())
            while len(batch) < self._merges_per_training:
                try:
                    batch.append(self._inbox.receive_nowait())
                except trio.WouldBlock:
                    break
            before = self._state
            # The thread may be abandoned at exit: it works on values, and only this task publishes them.
            self._state = await run_abandonable(self._work, before, tuple(batch))
            if self._state.step > before.step:
                last_training = trio.current_time()

    def _work(self, state: State, batch: tuple[Incoming, ...]) -> State:
        if not batch:
            return self._finite(self._train_alone(state))
        for incoming in batch:
            work = self._adopt if state.has_gone_back else self._absorb
            state = self._finite(work(state, incoming))
        return state

    def _train(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Train; what the task's own module, loss or data provoke is its author's to mend."""
        try:
            return self._trainer.train(nodes, _ALL_OF_ONE)
        except GossipflError:
            raise
        except Exception as error:
            raise InvalidTask(
                "training failed on a batch of the task's own data",
                got=f"{type(error).__name__}: {error}",
                remedy="Look for labels out of range and samples of another form; what was learned is saved.",
            ) from error

    def _train_alone(self, state: State) -> State:
        began = time.perf_counter()
        nodes, losses = self._train(state.nodes)
        after = State(nodes=nodes, event=state.event + 1, merges_pending=0, loss=float(losses[0]))
        self._record({"kind": "train", **_described(after, trained=True, began=began)})
        return after

    def _absorb(self, state: State, incoming: Incoming) -> State:
        began = time.perf_counter()
        steps = isinstance(self._algorithm, ADPSGD)
        begun = incoming.begun if steps else None
        merged = 0 if steps else state.merges_pending + 1
        trains = begun is not None if steps else merged >= self._merges_per_training
        loss = state.loss

        def update(nodes: Nodes) -> Nodes:
            nonlocal loss
            if not trains:
                return nodes
            nodes, losses = self._train(nodes)
            loss = float(losses[0])
            return nodes

        nodes = take_in(
            self._algorithm,
            state.nodes,
            _message(incoming),
            begun=None if begun is None else begun.nodes,
            update=update,
        )
        after = State(
            nodes=nodes,
            event=state.event + 1,
            merges_pending=0 if trains else merged,
            loss=loss,
        )
        described = _described(after, trained=trains, began=began)
        if begun is not None:
            described["begun_event"] = begun.event
        self._record({"kind": "merge", **_origin(incoming), **described})
        return after

    def _adopt(self, state: State, incoming: Incoming) -> State:
        began = time.perf_counter()
        nodes = adopt(state.nodes, _message(incoming))
        after = State(nodes=nodes, event=state.event + 1, loss=state.loss)
        self._record({"kind": "adopt", **_origin(incoming), **_described(after, trained=False, began=began)})
        return after

    def _finite(self, state: State) -> State:
        """Return the state as it is or, if its row holds NaN or an infinity, the last good one."""
        if is_finite(state.nodes.rows):
            return state
        began = time.perf_counter()
        good = self._good
        nodes = go_back(state.nodes, good.nodes)
        after = State(nodes=nodes, event=state.event + 1, loss=state.loss, has_gone_back=True)
        self._record(
            {
                "kind": "go_back",
                "good_event": good.event,
                **_described(after, trained=False, began=began),
            }
        )
        self.divergences += 1
        if self.divergences.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time
            logger.warning(
                "the model diverged (time %d) and went back to age %d: lower the learning rate, or clip gradients",
                self.divergences,
                after.age,
            )
        return after


def _message(incoming: Incoming) -> Message:
    return Message(shared=incoming.shared[None], ages=torch.tensor([incoming.age]))


def _origin(incoming: Incoming) -> dict[str, Any]:
    return {
        "sender": incoming.sender,
        "sender_incarnation": incoming.incarnation,
        "sender_sequence": incoming.sequence,
        "sender_event": incoming.event,
        "sender_age": incoming.age,
        "codec": incoming.codec,
    }


def _described(state: State, *, trained: bool, began: float) -> dict[str, Any]:
    described: dict[str, Any] = {
        "event": state.event,
        "age": state.age,
        "step": state.step,
        "seconds": round(time.perf_counter() - began, 6),
        "trained": trained,
    }
    if trained:
        described["loss"] = state.loss
    return described
