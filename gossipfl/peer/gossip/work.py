"""Merges, training and adoption: the work of a gossiping peer's events on its model, in the worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from gossipfl.algorithms import Message, MessageAlgorithm, adopt
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt
from gossipfl.algorithms.gate import Admission, as_let_in
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.gossip.events import Incoming, Merged, State, described_event, origin_of
from gossipfl.peer.gossip.guard import Guard
from gossipfl.peer.gossip.updates import Update
from gossipfl.peer.gossip.ways_back import WaysBack
from gossipfl.peer.permission import Permission
from gossipfl.peer.store.good_versions import is_large
from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.training import Nodes, Trainer, TrainingStopped

__all__ = ["Work"]

_ALL_OF_ONE = np.zeros(1, dtype=np.int64)


class Work:
    """Functions of a state that return the next one, and record each event.

    Parameters
    ----------
    trainer : Trainer
        For this peer's own data.
    algorithm : MessageAlgorithm
    merges_per_training : int
        Models merged between two trainings, if nodes train on receipt.
    record : callable
        Called with one record for each event, in order.
    ways_back : WaysBack
    guard : Guard, optional
        Decides how far received models are merged; by default completely.
    effects : MergeEffects, optional
        Measures what merges do to the model; by default nothing does.

    Attributes
    ----------
    trainer : Trainer
    permission : Permission
        To train, read before each step of training.
    merged : list of Merged
        Models that were merged since the list was last taken.
    """

    def __init__(
        self,
        *,
        trainer: Trainer,
        algorithm: MessageAlgorithm,
        merges_per_training: int,
        record: Callable[[Mapping[str, Any]], None],
        ways_back: WaysBack,
        guard: Guard | None,
        effects: MergeEffects | None,
    ) -> None:
        self.trainer = trainer
        self.permission = Permission()
        self.merged: list[Merged] = []
        self._algorithm = algorithm
        self._trains = algorithm.behaviour.trains
        self._merges_per_training = merges_per_training
        self._record = record
        self._ways_back, self._guard, self._effects = ways_back, guard, effects

    def __call__(self, state: State, batch: list[Incoming], *, clock: bool = False) -> State:
        """Merge the models of a batch, which is emptied, then act on the clock if it rang; or else train alone."""
        if is_large(state.nodes):
            self._ways_back.look(state)
        if not batch and not clock:
            return self._ways_back.unspoiled(self._ways_back.finite(self._train_alone(state)))
        while batch:
            after = self._taken(state, batch[0])
            del batch[0]  # a large model's memory is needed for what follows
            state = state if after is state else self._ways_back.unspoiled(after)
        return self._ways_back.finite(self._act_on_clock(state)) if clock else state

    def take_merged(self) -> list[Merged]:
        """Return the models that were merged since the last call."""
        merged, self.merged = self.merged, []
        return merged

    def may_train(self) -> bool:
        """Whether training is permitted, and affordable, now."""
        return self.permission.trains and not self.trainer.is_spent

    def _taken(self, state: State, incoming: Incoming) -> State:
        own = state.nodes.rows[:, : self.trainer.layout.shared_size]
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
        return self._ways_back.finite(after)

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
            size=self.trainer.layout.shared_size,
            age=int(incoming.message.ages.max()),
            is_answer=incoming.is_answer,
        )

    def _train_alone(self, state: State) -> State:
        began = time.perf_counter()
        update = Update(self._train, state.loss, may_train=self.may_train)
        nodes = update(state.nodes)
        if update.is_stopped:
            return state
        after = State(nodes=nodes, event=state.event + 1, merges_pending=0, loss=update.loss)
        self._record({"kind": "train", **described_event(after, trained=True, began=began)})
        return after

    def _train(self, nodes: Nodes, goes_on: Callable[[], bool]) -> tuple[Nodes, Tensor]:
        try:
            return self.trainer.train(nodes, _ALL_OF_ONE, goes_on=goes_on)
        except BudgetSpent as error:
            raise TrainingStopped(str(error)) from None

    def _act_on_clock(self, state: State) -> State:
        began = time.perf_counter()
        update = Update(self._train, state.loss, may_train=self.may_train)
        size = self.trainer.layout.shared_size
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
        update = Update(self._train if trains else None, state.loss, may_train=self.may_train)
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
        self.merged.append(
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
