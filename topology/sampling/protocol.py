"""The seam between a peer-sampling protocol and whoever drives it.

A protocol is a sans-I/O state machine: a frozen value and functions ``event(state, …) -> Step``. It sends nothing,
reads no clock and draws nothing: the driver delivers the messages of a step, decides when a period has passed, and
hands in the draws. A peer hands in its own generator, a test hands in numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

__all__ = ["Draw", "Envelope", "Peer", "SamplingProtocol", "Step", "chosen_index", "in_draw_order", "without"]

Peer = TypeVar("Peer", bound=Hashable)
"""The name of a peer: any hashable value, compared with ``==``.

A real peer whose address travels with its name uses a frozen dataclass whose address has ``compare=False``.
"""
State = TypeVar("State")
Message = TypeVar("Message")

Draw: TypeAlias = Callable[[int], Sequence[float]]
"""``draw(k)`` gives k independent uniform draws from [0, 1); the ``random`` of a NumPy generator is one."""


@dataclass(frozen=True, slots=True)
class Envelope(Generic[Peer, Message]):
    """A message and the peer it is for."""

    to: Peer
    message: Message


@dataclass(frozen=True, slots=True)
class Step(Generic[State, Peer, Message]):
    """The outcome of an event: the state after it, and the messages to send, in order."""

    state: State
    envelopes: tuple[Envelope[Peer, Message], ...] = ()


class SamplingProtocol(Protocol):
    """The events of a protocol, as a driver calls them; `topology.sampling.cyclon` and `hyparview` are two.

    A state has ``neighbours``, the peers to gossip with. How a peer enters differs: through `cyclon.introduce` or
    `hyparview.join`.
    """

    def tick(self, state: Any, draw: Draw) -> Step[Any, Any, Any]:  # noqa: ANN401 - each protocol's own
        """Begin a period."""

    def receive(self, state: Any, sender: Any, message: Any, draw: Draw) -> Step[Any, Any, Any]:  # noqa: ANN401
        """Take in a message."""

    def unreachable(self, state: Any, peer: Any, draw: Draw) -> Step[Any, Any, Any]:  # noqa: ANN401
        """Forget a peer that could not be reached."""


def chosen_index(draw: float, count: int) -> int:
    """Index in ``range(count)`` that a uniform draw from [0, 1) selects."""
    return min(int(draw * count), count - 1)


def in_draw_order(draws: Sequence[float], count: int) -> list[int]:
    """Indices 0…count-1 sorted by their draws: a uniformly random order."""
    return sorted(range(count), key=lambda index: draws[index])


def without(peers: Iterable[Peer], peer: Peer) -> tuple[Peer, ...]:
    """All peers but one, in their order."""
    return tuple(other for other in peers if other != peer)
