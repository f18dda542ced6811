"""Versions of a gossiping peer's model to which it goes back: when it diverges, or merges have spoiled it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from gossipfl.algorithms import go_back
from gossipfl.codecs import is_finite
from gossipfl.peer.gossip.events import State, described_event
from gossipfl.peer.gossip.guard import Guard
from gossipfl.peer.store.good_versions import GoodVersion, InMemory, is_large
from gossipfl.training import has_diverged

__all__ = ["WaysBack"]

logger = logging.getLogger(__name__)

_EVENTS_BETWEEN_LOOKS = 16


class WaysBack:
    """The versions that were saved, and the return to them.

    Parameters
    ----------
    state : State
        Initial state, the first good version.
    record : callable
        Called with a record of each return.
    guard : Guard, optional
        Says whether merges have spoiled the model; by default nothing does.
    kept : callable
        Keeps a state that has been saved.

    Attributes
    ----------
    divergences, rollbacks : int
        Returns because the model had diverged, and because it was spoiled.
    """

    def __init__(
        self,
        state: State,
        *,
        record: Callable[[Mapping[str, Any]], None],
        guard: Guard | None,
        kept: Callable[[State], GoodVersion],
    ) -> None:
        self._record, self._guard, self._kept = record, guard, kept
        self._good: GoodVersion = InMemory(state)
        self._sound: GoodVersion = self._good
        self._unlooked: GoodVersion | None = self._good  # saved, but perhaps when it was spoiled already
        self.divergences = self.rollbacks = 0

    def keep(self, state: State) -> None:
        """Take this state, which has been saved, for a good version."""
        self._good = kept = self._kept(state)
        if self._sound.event == kept.event:
            self._sound = kept
        if self._unlooked is None or self._unlooked.event == kept.event or is_large(state.nodes):
            self._unlooked = kept

    def finite(self, state: State) -> State:
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

    def unspoiled(self, state: State) -> State:
        """Return the state or, if merges have destroyed what it had learned, the last good one."""
        guard = self._guard
        if guard is None or (state.event % _EVENTS_BETWEEN_LOOKS and not guard.suspects):
            return state
        if self._unlooked is not None:
            self.look(state)
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

    def look(self, state: State) -> None:
        """Look whether the version that was saved is sound; a large one only as long as it is the present one."""
        guard, unlooked = self._guard, self._unlooked
        if guard is None or unlooked is None or (is_large(state.nodes) and unlooked.event != state.event):
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
