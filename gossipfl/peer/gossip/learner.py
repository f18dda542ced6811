"""The only owner of a gossiping peer's model: it merges received models, trains, and publishes snapshots.

Invariant: only `Learner.run` replaces the state, and states are immutable. Whatever else needs the model (an
exchange, an evaluation, a checkpoint) takes the current state and is never waited for. Every published state is
finite: a model that diverges is reset to the last good one first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from gossipfl.algorithms import MessageAlgorithm
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.gossip.events import Incoming, Merged, State
from gossipfl.peer.gossip.guard import Guard
from gossipfl.peer.gossip.mailbox import ClockRequest, Mailbox, sorted_into
from gossipfl.peer.gossip.ways_back import WaysBack
from gossipfl.peer.gossip.work import Work
from gossipfl.peer.permission import Permission
from gossipfl.peer.store.good_versions import GoodVersion, InMemory, is_large
from gossipfl.peer.threads import run_abandonable
from gossipfl.training import Trainer

__all__ = ["Learner"]


class Learner:
    """Owns the model of a peer.

    Parameters
    ----------
    state : State
        Initial state.
    trainer : Trainer
        For this peer's own data.
    merges_per_training : int
        Models merged between two trainings, if nodes train on receipt.
    patience : float
        Seconds without training after which the peer trains its own model.
    mailbox : int
        Number of models that may wait. Beyond it, a newer model of a sender replaces its older one that waits, if
        models are exchanged whole and nothing but models: parts and weights must not be lost.
    record : callable
        Called from the worker thread with one record for each event, in order.
    guard : Guard, optional
        Decides how far received models are merged; by default completely.
    effects : MergeEffects, optional
        Measures what merges do to the model; by default nothing does.
    kept : callable
        Keeps a state that has been saved.

    Attributes
    ----------
    on_merged : callable
        Called with the models that were merged, once the outcome is the state.
    """

    def __init__(
        self,
        *,
        state: State,
        trainer: Trainer,
        algorithm: MessageAlgorithm,
        merges_per_training: int,
        patience: float,
        mailbox: int,
        record: Callable[[Mapping[str, Any]], None],
        guard: Guard | None = None,
        effects: MergeEffects | None = None,
        kept: Callable[[State], GoodVersion] = InMemory,
    ) -> None:
        self._guard = guard
        self._state = state
        self._trains = algorithm.behaviour.trains
        self._merges_per_training = merges_per_training
        self._patience = patience
        self._record = record
        self._ways_back = WaysBack(state, record=record, guard=guard, kept=kept)
        self._work = Work(
            trainer=trainer,
            algorithm=algorithm,
            merges_per_training=merges_per_training,
            record=record,
            ways_back=self._ways_back,
            guard=guard,
            effects=effects,
        )
        self._renewed: tuple[Trainer, Mapping[str, Any]] | None = None
        self._allowed = trio.Event()  # to merge again
        self._last_training = 0.0
        self._awaiting = trio.CancelScope()
        self._mailbox = Mailbox(models=mailbox, replaces=algorithm.behaviour.is_plain)
        self._in_work: list[Incoming] = []
        self._working = trio.Lock()
        self.on_merged: Callable[[Sequence[Merged]], None] = lambda _: None

    @property
    def state(self) -> State:
        """The newest version of the model, an immutable value."""
        return self._state

    @property
    def divergences(self) -> int:
        """How often the model diverged and was reset."""
        return self._ways_back.divergences

    @property
    def rollbacks(self) -> int:
        """How often merges had spoiled the model, and it was reset."""
        return self._ways_back.rollbacks

    @property
    def trains_on_answers(self) -> bool:
        """Whether an answer must come with the version that was sent for it."""
        return self._trains == "answer"

    @property
    def kept_bytes(self) -> int:
        """Memory of the received models that wait, or are being merged."""
        return sum(each.nbytes for each in [*self._mailbox.models, *self._in_work])

    @property
    def mailbox_is_full(self) -> bool:
        """Whether the learner would refuse any model now, as it does while it may not merge."""
        return not self.merges or not self._mailbox.has_room_for()

    @property
    def merges(self) -> bool:
        """Whether the learner may merge now."""
        return self._work.permission.merges

    def would_refuse(self, sender: str) -> bool:
        """Return whether a model of this sender would be refused now."""
        return not self.merges or not self._mailbox.has_room_for(sender)

    def at_rest(self) -> AbstractAsyncContextManager[object]:
        """Let no large model change meanwhile: a version that is being read needs memory beside the newest."""
        return self._working if is_large(self._state.nodes) else nullcontext()

    def keep(self, state: State) -> None:
        """Record that this state has been saved: a model that diverges, or is spoiled later, is reset to it."""
        self._ways_back.keep(state)

    def renew(self, trainer: Trainer, description: Mapping[str, Any]) -> None:
        """Train on different data from the next event on, and record their description."""
        self._renewed = trainer, description

    def allow(self, permission: Permission) -> None:
        """Train and merge only as permitted, from the next merge or step of training on."""
        before, self._work.permission = self._work.permission, permission
        if permission.trains and not before.trains:
            self._last_training = trio.current_time()
        if permission.merges:
            self._allowed.set()
            self._allowed = trio.Event()
        self._awaiting.deadline = self._patient_until

    def distrusts(self, peer_id: str) -> bool:
        """Return whether nothing is accepted from a peer at present."""
        return self._guard is not None and self._guard.is_quarantined(peer_id)

    def offer(self, incoming: Incoming) -> bool:
        """Put a model into the mailbox, or return False if that is full, or the learner may not merge."""
        return self.merges and self._mailbox.put(incoming)

    async def acted_on_clock(self) -> State:
        """Apply the algorithm's action on the clock, and return the model to send."""
        if self._trains != "clock":
            return self._state
        sender, receiver = trio.open_memory_channel[State](1)
        self._mailbox.ask(ClockRequest(sender))
        return await receiver.receive()

    async def run(self) -> None:
        """Merge and train in a worker thread, until cancelled."""
        self._last_training = trio.current_time()
        while True:
            batch: list[Incoming] = []
            clock: ClockRequest | None = None
            while not self.merges:
                await self._allowed.wait()
            with trio.CancelScope(deadline=self._patient_until) as self._awaiting:
                clock = sorted_into(batch, await self._mailbox.take())
            while clock is None and len(batch) < self._merges_per_training:
                item = self._mailbox.take_nowait()
                if item is None:
                    break
                clock = sorted_into(batch, item)
            self._in_work = batch
            if not self._work.may_train() and not batch and clock is None:
                continue
            step = self._state.step
            async with self._working:
                self._state = await self.worked(batch, clock)
            if merged := self._work.take_merged():
                self.on_merged(merged)
            if self._state.step > step:
                self._last_training = trio.current_time()

    @property
    def _patient_until(self) -> float:
        """Time from which on the peer trains alone."""
        return self._last_training + self._patience if self._work.may_train() else math.inf

    async def worked(self, batch: list[Incoming], clock: ClockRequest | None) -> State:
        """Merge models and train; what stands in for it, as in `examples/hostile_peer.py`, sees all that came."""
        before = self._state
        if self._renewed is not None:
            trainer, description = self._renewed
            self._work.trainer = replace(trainer, draws=self._work.trainer.draws)
            self._renewed = None
            self._record({"kind": "data", "event": before.event, **description})
        # The thread may be abandoned at exit: it works on immutable values that only `run` publishes.
        after = await run_abandonable(partial(self._work, before, batch, clock=clock is not None))
        if clock is not None:
            clock.outcome.send_nowait(after)
        return after
