"""A peer's part in a network: the learner, and the tasks that talk to the others, in gossip or in rounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from gossipfl.errors import IdentityInUseTwice
from gossipfl.network import Handler, Host, Screen
from gossipfl.peer.gossip.events import State
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import Trainer

__all__ = ["Learning", "Participation", "Parts"]


class Learning(Protocol):
    """The one owner of a peer's model."""

    divergences: int

    @property
    def state(self) -> State:
        """The newest version of the model; a value, safe to keep."""
        ...

    def keep(self, state: State) -> None:
        """Note that this state is saved."""
        ...

    async def run(self) -> None:
        """Learn until cancelled, or until there is no more to do."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The components of one start of a peer, however it takes part.

    Parameters
    ----------
    host : Host
    state : State
        Where learning starts.
    task : Task
    data : Dataset
        The peer's own.
    trainer : Trainer
        Over these.
    generator : numpy.random.Generator
        Neighbours and pauses are drawn from it.
    settings : PeerSettings
    incarnation : int
    record : callable
        Takes one record.
    start_again : callable
        Takes an incarnation, and makes the peer start again beyond it; returns if that is not possible now.
    name_double : callable
        Takes an error where an identity is in use twice.
    starts_before : int
        How often it did in this process.
    away_seconds : float
        How long ago the model was saved from which it goes on; 0 if there is none.
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
    name_double: Callable[[IdentityInUseTwice], None]
    starts_before: int = 0
    away_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Participation:
    """The interactions of one start of a peer with others.

    Parameters
    ----------
    learner : Learning
    answer : callable
        Answers others' messages.
    screen : callable
        Refuses them by their headers.
    tasks : mapping of str to callable
        Tasks that run as long as the peer does, by name.
    described : callable
        How the rounds go, as plain values for the status; None of a peer that gossips.
    gate : callable
        What the gate decided, as plain values for the status; None where there is no gate.
    """

    learner: Learning
    answer: Handler
    screen: Screen
    tasks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    described: Callable[[], Mapping[str, Any] | None] = lambda: None
    gate: Callable[[], Mapping[str, Any] | None] = lambda: None
