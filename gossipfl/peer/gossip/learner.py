"""The only owner of a gossiping peer's model: it merges received models, trains, and publishes snapshots.

Invariant: only `Learner.run` replaces the state, and states are immutable. Whatever else needs the model (an
exchange, an evaluation, a checkpoint) takes the current state and is never waited for. Every published state is
finite: a model that diverges is reset to the last good one first.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import trio
from torch import Tensor

from gossipfl.algorithms import Message, MessageAlgorithm, adopt, go_back
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt
from gossipfl.algorithms.gate import Admission, as_let_in
from gossipfl.codecs import is_finite
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.gossip.events import Incoming, Merged, State, described_event, origin_of
from gossipfl.peer.gossip.guard import Guard
from gossipfl.peer.gossip.mailbox import ClockRequest, Mailbox, sorted_into
from gossipfl.peer.gossip.updates import Update
from gossipfl.peer.permission import Permission
from gossipfl.peer.store.good_versions import GoodVersion, InMemory, is_large
from gossipfl.peer.threads import run_abandonable
from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.training import Nodes, Trainer, TrainingStopped, has_diverged

__all__ = ["Learner"]

logger = logging.getLogger(__name__)

_ALL_OF_ONE = np.zeros(1, dtype=np.int64)
_EVENTS_BETWEEN_LOOKS = 16


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
        self._guard, self._effects = guard, effects
        self._kept = kept
        self._state = state
        self._trainer = trainer
        self._algorithm = algorithm
        self._trains = algorithm.behaviour.trains
        self._merges_per_training = merges_per_training
        self._patience = patience
        self._record = record
        self._good: GoodVersion = InMemory(state)
        self._sound: GoodVersion = self._good
        self._unlooked: GoodVersion | None = self._good  # saved, but perhaps when it was spoiled already
        self._renewed: tuple[Trainer, Mapping[str, Any]] | None = None
        self.divergences = self.rollbacks = 0
        self._permission = Permission()
        self._allowed = trio.Event()  # to merge again
        self._last_training = 0.0
        self._awaiting = trio.CancelScope()
        self._mailbox = Mailbox(models=mailbox, replaces=algorithm.behaviour.is_plain)
        self._in_work: list[Incoming] = []
        self._working = trio.Lock()
        self._merged: list[Merged] = []
        self.on_merged: Callable[[Sequence[Merged]], None] = lambda _: None

    @property
    def state(self) -> State:
        """The newest version of the model, an immutable value."""
        return self._state

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
        return not self._permission.merges or not self._mailbox.has_room_for()

    @property
    def merges(self) -> bool:
        """Whether the learner may merge now."""
        return self._permission.merges

    def would_refuse(self, sender: str) -> bool:
        """Return whether a model of this sender would be refused now."""
        return not self._permission.merges or not self._mailbox.has_room_for(sender)

    def at_rest(self) -> AbstractAsyncContextManager[object]:
        """Let no large model change meanwhile: a version that is being read needs memory beside the newest."""
        return self._working if is_large(self._state.nodes) else nullcontext()

    def keep(self, state: State) -> None:
        """Record that this state has been saved: a model that diverges, or is spoiled later, is reset to it."""
        self._good = kept = self._kept(state)
        if self._sound.event == kept.event:
            self._sound = kept
        if self._unlooked is None or self._unlooked.event == kept.event or is_large(state.nodes):
            self._unlooked = kept

    def renew(self, trainer: Trainer, description: Mapping[str, Any]) -> None:
        """Train on different data from the next event on, and record their description."""
        self._renewed = trainer, description

    def allow(self, permission: Permission) -> None:
        """Train and merge only as permitted, from the next merge or step of training on."""
        before, self._permission = self._permission, permission
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
        return self._permission.merges and self._mailbox.put(incoming)

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
            while not self._permission.merges:
                await self._allowed.wait()
            with trio.CancelScope(deadline=self._patient_until) as self._awaiting:
                clock = sorted_into(batch, await self._mailbox.take())
            while clock is None and len(batch) < self._merges_per_training:
                item = self._mailbox.take_nowait()
                if item is None:
                    break
                clock = sorted_into(batch, item)
            self._in_work = batch
            if not self._may_train() and not batch and clock is None:
                continue
            step = self._state.step
            async with self._working:
                self._state = await self._worked(batch, clock)
            merged, self._merged = self._merged, []
            if merged:
                self.on_merged(merged)
            if self._state.step > step:
                self._last_training = trio.current_time()

    @property
    def _patient_until(self) -> float:
        """Time from which on the peer trains alone."""
        return self._last_training + self._patience if self._may_train() else math.inf

    async def _worked(self, batch: list[Incoming], clock: ClockRequest | None) -> State:
        before = self._state
        if self._renewed is not None:
            trainer, description = self._renewed
            self._trainer = replace(trainer, draws=self._trainer.draws)
            self._renewed = None
            self._record({"kind": "data", "event": before.event, **description})
        # The thread may be abandoned at exit: it works on immutable values that only `run` publishes.
        after = await run_abandonable(partial(self._work, before, batch, clock=clock is not None))
        if clock is not None:
            clock.outcome.send_nowait(after)
        return after

    def _work(self, state: State, batch: list[Incoming], *, clock: bool = False) -> State:
        if self._guard is not None and is_large(state.nodes):
            self._look(self._guard, state)
        if not batch and not clock:
            return self._unspoiled(self._finite(self._train_alone(state)))
        while batch:
            after = self._taken(state, batch[0])
            del batch[0]  # a large model's memory is needed for what follows
            state = state if after is state else self._unspoiled(after)
        return self._finite(self._act_on_clock(state)) if clock else state

    def _taken(self, state: State, incoming: Incoming) -> State:
        own = state.nodes.rows[:, : self._trainer.layout.shared_size]
        message = incoming.whole(own, self._algorithm.behaviour.sharing, is_spent=is_large(state.nodes))
        credit: Mapping[str, Any] = {}
        is_surplus = False
        admission = self._admission(state, incoming)
        if admission is not None:
            if admission.is_refusal:
                self._record({"kind": "refusal", **origin_of(incoming), "reason": admission.reason})
                return state
            credit = admission.changes(int(message.ages.max()))
            message = as_let_in(message, state.nodes.rows, [admission]) if credit else message
            is_surplus = admission.is_surplus
        if incoming.part is None and (state.has_gone_back or incoming.chosen_age is not None):
            after = self._adopt(state, incoming, message, credit)
        else:
            after = self._take_in(state, incoming, message, credit, is_surplus=is_surplus)
        return self._finite(after)

    def _admission(self, state: State, incoming: Incoming) -> Admission | None:
        if incoming.chosen_age is not None:
            return Admission(reason="chosen", share=1.0, age=incoming.chosen_age)
        if self._guard is None:
            return None
        return self._guard.admit(
            state.nodes,
            sender=incoming.sender,
            version=(incoming.incarnation, incoming.event),
            shared=incoming.message.shared,
            part=incoming.part,
            size=self._trainer.layout.shared_size,
            age=int(incoming.message.ages.max()),
            is_answer=incoming.is_answer,
        )

    def _train_alone(self, state: State) -> State:
        began = time.perf_counter()
        update = Update(self._train, state.loss, may_train=self._may_train)
        nodes = update(state.nodes)
        if update.is_stopped:
            return state
        after = State(nodes=nodes, event=state.event + 1, merges_pending=0, loss=update.loss)
        self._record({"kind": "train", **described_event(after, trained=True, began=began)})
        return after

    def _train(self, nodes: Nodes, goes_on: Callable[[], bool]) -> tuple[Nodes, Tensor]:
        try:
            return self._trainer.train(nodes, _ALL_OF_ONE, goes_on=goes_on)
        except BudgetSpent as error:
            raise TrainingStopped(str(error)) from None

    def _may_train(self) -> bool:
        return self._permission.trains and not self._trainer.is_spent

    def _act_on_clock(self, state: State) -> State:
        began = time.perf_counter()
        update = Update(self._train, state.loss, may_train=self._may_train)
        size = self._trainer.layout.shared_size
        nodes = on_clock(self._algorithm, state.nodes, shared_size=size, update=update)
        after = State(nodes=nodes, event=state.event + 1, loss=update.loss)
        self._record({"kind": "clock", **described_event(after, trained=not update.is_stopped, began=began)})
        return after

    def _take_in(
        self,
        state: State,
        incoming: Incoming,
        message: Message,
        credit: Mapping[str, Any],
        *,
        is_surplus: bool,
    ) -> State:
        began = time.perf_counter()
        algorithm = self._algorithm
        begun = incoming.begun if self._trains == "answer" else None
        merged = state.merges_pending + (not is_surplus) if self._trains == "receipt" else 0
        trains = begun is not None or merged >= self._merges_per_training
        update = Update(self._train if trains else None, state.loss, may_train=self._may_train)
        watched = None
        if begun is None:
            watched = None if self._effects is None else self._effects.watching(state.nodes, update)
            nodes = on_receipt(algorithm, state.nodes, message, update=watched or update)
        else:
            nodes = on_answer(algorithm, state.nodes, message, begun.nodes, update=update)
        trains = trains and not update.is_stopped
        pending = 0 if trains else merged
        after = State(nodes=nodes, event=state.event + 1, merges_pending=pending, loss=update.loss)
        described = described_event(after, trained=trains, began=began)
        if begun is not None:
            described["begun_event"] = begun.event
        if watched is not None:
            described["effect"] = watched.noted(incoming.sender, nodes)
        place = algorithm.behaviour.sharing.account(incoming.part or 0)
        self._merged.append(
            Merged.into(state, message, event=after.event, part=incoming.part or 0, place=place)
        )
        self._record({"kind": "merge", **origin_of(incoming), **credit, **described})
        return after

    def _adopt(self, state: State, incoming: Incoming, message: Message, credit: Mapping[str, Any]) -> State:
        began = time.perf_counter()
        nodes = adopt(state.nodes, message)
        after = State(nodes=nodes, event=state.event + 1, loss=state.loss)
        described = described_event(after, trained=False, began=began)
        self._record({"kind": "adopt", **origin_of(incoming), **credit, **described})
        return after

    def _finite(self, state: State) -> State:
        """Return the state or, if its row has diverged, the last good one."""
        if is_finite(state.nodes.rows) or not has_diverged(state.nodes.rows, self._good.nodes().rows):
            return state
        after = self._gone_back(state, self._good, has_gone_back=True)
        self.divergences += 1
        if self.divergences.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time
            logger.warning(
                "the model diverged (time %d) and was reset to age %d: lower the learning rate, or clip gradients",
                self.divergences,
                after.age,
            )
        return after

    def _unspoiled(self, state: State) -> State:
        """Return the state or, if merges have destroyed what it had learned, the last good one."""
        guard = self._guard
        if guard is None or (state.event % _EVENTS_BETWEEN_LOOKS and not guard.suspects):
            return state
        if self._unlooked is not None:
            self._look(guard, state)
        if not guard.is_spoiled(state.nodes):
            return state
        after = self._gone_back(state, self._sound, has_gone_back=False)
        self.rollbacks += 1
        logger.warning(
            "merges spoiled what the model had learned (time %d), and it was reset to age %d: see the refusals "
            "and merges before event %d in the records",
            self.rollbacks,
            after.age,
            after.event,
        )
        return after

    def _look(self, guard: Guard, state: State) -> None:
        """Look whether the version that was saved is sound; a large one only as long as it is the present one."""
        unlooked = self._unlooked
        if unlooked is None or (is_large(state.nodes) and unlooked.event != state.event):
            return
        if guard.is_sound(state.nodes if unlooked.event == state.event else unlooked.nodes()):
            self._sound = unlooked
        self._unlooked = None

    def _gone_back(self, state: State, good: GoodVersion, *, has_gone_back: bool) -> State:
        began = time.perf_counter()
        if self._guard is not None:
            self._guard.forget_comparisons()
        nodes = go_back(state.nodes, good.nodes())
        after = State(nodes=nodes, event=state.event + 1, loss=state.loss, has_gone_back=has_gone_back)
        described = described_event(after, trained=False, began=began)
        self._record({"kind": "go_back", "good_event": good.event, **described})
        return after
