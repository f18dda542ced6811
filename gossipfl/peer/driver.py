"""Interfaces common to gossip and rounds: the learner, and a peer's tasks and handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import trio

from gossipfl.errors import IdentityInUseTwice
from gossipfl.network import Handler, Host, Screen
from gossipfl.peer.gossip.events import State
from gossipfl.peer.permission import Permission
from gossipfl.peer.renewal import Renewal
from gossipfl.peer.store.good_versions import GoodVersion, InMemory
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import Trainer

__all__ = ["Learning", "Participation", "Parts"]


class Learning(Protocol):
    """The only owner of a peer's model."""

    @property
    def divergences(self) -> int:
        """How often the model diverged and was reset."""
        ...

    @property
    def state(self) -> State:
        """The newest version of the model, an immutable value."""
        ...

    def keep(self, state: State) -> None:
        """Record that this state has been saved."""
        ...

    def at_rest(self) -> AbstractAsyncContextManager[object]:
        """Let no large model change meanwhile."""
        ...

    def allow(self, permission: Permission) -> None:
        """Train and merge only as permitted from now on."""
        ...

    async def run(self) -> None:
        """Learn until cancelled, or until learning is complete."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The components of one start of a peer, whether it gossips or learns in rounds.

    Parameters
    ----------
    state : State
        Initial state.
    data : Dataset
        The peer's own.
    trainer : Trainer
        For these data.
    generator : numpy.random.Generator
        For choosing neighbours and pauses.
    record : callable
        Appends a record.
    start_again : callable
        Called with an incarnation, restarts the peer with a higher one; returns if that is impossible now.
    report_double : callable
        Called with an error when an identity is in use twice.
    kept : callable
        Keeps a state that has just been saved.
    note : callable
        Told the name and the text of a condition that the operator should know, and perhaps its ``seconds``.
    starts_before : int
        Earlier starts in this process.
    away_seconds : float
        Time since the checkpoint was saved; 0 if there is none.
    """

    host: Host
    state: State
    task: Task
    data: Dataset
    trainer: Trainer
    generator: np.random.Generator
    settings: PeerSettings
    incarnation: int
    record: Callable[[Mapping[str, Any]], None]
    start_again: Callable[[int], Awaitable[None]]
    report_double: Callable[[IdentityInUseTwice], None]
    kept: Callable[[State], GoodVersion] = InMemory
    note: Callable[..., None] = lambda name, text, **lasting: None
    starts_before: int = 0
    away_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Participation:
    """The learner of one start of a peer, and its interactions with others.

    Parameters
    ----------
    answer : callable
        Answers others' messages.
    screen : callable
        Refuses messages by their headers.
    tasks : mapping of str to callable
        Background tasks, by name.
    described : callable
        Returns the progress of the rounds as plain values for the status; None if the peer gossips.
    gate : callable
        Returns the gate's decisions as plain values for the status; None without a gate.
    flow : callable
        Returns the token accounts as plain values for the status; None without any.
    model_ages : mapping of str to int
        Ages of the newest models received, by peer id; empty in rounds.
    codec_to : callable
        Returns the name of the codec in which models are sent to a peer now; None if none was sent.
    effect_of : callable
        Returns the measured effect of a peer's models as plain values; None if none was measured.
    renewal : Renewal, optional
        Reloads the data; not in rounds.
    say_farewell : callable
        Tells neighbours that this peer leaves.
    reload : callable
        Applies settings that have changed; see `gossipfl.peer.reloading`.
    """

    learner: Learning
    answer: Handler
    screen: Screen
    tasks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    described: Callable[[], Mapping[str, Any] | None] = lambda: None
    gate: Callable[[], Mapping[str, Any] | None] = lambda: None
    flow: Callable[[], Mapping[str, Any] | None] = lambda: None
    model_ages: Mapping[str, int] = field(default_factory=dict)
    codec_to: Callable[[str], str | None] = lambda _: None
    effect_of: Callable[[str], Mapping[str, Any] | None] = lambda _: None
    renewal: Renewal | None = None
    say_farewell: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    reload: Callable[[PeerSettings], None] = lambda _: None
