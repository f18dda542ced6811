"""The messages of HyParView."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias

from topology.sampling.protocol import Peer

__all__ = [
    "Disconnect",
    "ForwardJoin",
    "HyParViewMessage",
    "Join",
    "NeighbourReply",
    "NeighbourRequest",
    "Shuffle",
    "ShuffleAnswer",
]

PICK, DROP_ACTIVE, DROP_PASSIVE, SAMPLES = 0, 1, 2, 3
"""Places in the block of draws that every event asks for; samples take all from the last on."""


@dataclass(frozen=True, slots=True)
class Join:
    """The sender is new and asks to be let in."""


@dataclass(frozen=True, slots=True)
class ForwardJoin(Generic[Peer]):
    """News of a newcomer on a random walk."""

    newcomer: Peer
    hops_left: int


@dataclass(frozen=True, slots=True)
class NeighbourRequest:
    """The sender wants to be a neighbour; if `urgent` it has no other and must not be refused."""

    urgent: bool


@dataclass(frozen=True, slots=True)
class NeighbourReply:
    """Answer to a `NeighbourRequest`."""

    accepted: bool


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The sender no longer is a neighbour, but still there."""


@dataclass(frozen=True, slots=True)
class Shuffle(Generic[Peer]):
    """Peers known to `origin`, on a random walk to somebody who will swap."""

    origin: Peer
    peers: tuple[Peer, ...]
    hops_left: int


@dataclass(frozen=True, slots=True)
class ShuffleAnswer(Generic[Peer]):
    """As many peers in return."""

    peers: tuple[Peer, ...]


HyParViewMessage: TypeAlias = (
    Join
    | ForwardJoin[Peer]
    | NeighbourRequest
    | NeighbourReply
    | Disconnect
    | Shuffle[Peer]
    | ShuffleAnswer[Peer]
)
