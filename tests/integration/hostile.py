"""What the attackers of a running peer have in common; the attacks are in `hostile_inputs`."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from gossipfl import errors
from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import Outlaw, until
from tests.gossipfl.wire.frames import forged

#: How a refusal ends, in the words of the table.
TOLD_AND_CLOSED = "told the name; connection closed, an offence counted"
TOLD = "told the name; this stream closed, the connection kept"
TOLD_IN_STEP = "told the name; stream and connection kept"
CLOSED = "connection closed, an offence counted"
NEVER_CONNECTED = "socket closed; no connection was made"


class Target:
    """A running peer, as its attackers see it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.task = peer.task
        status = peer.status()
        self.host = SimpleNamespace(peer_id=status.peer_id, addresses=status.addresses)
        self.before = peer._learner.state

    @property
    def port(self) -> int:
        return int(self.host.addresses[0].split("/")[4])

    @property
    def refused(self):
        return self.peer.counters.refused

    def body(self, value: float = 0.5) -> bytes:
        return torch.full((self.task.layout.shared_size,), value).numpy().tobytes()

    def frame(self, *, body: bytes | None = None, preamble: dict | None = None, **changes) -> bytes:
        """A model frame for this peer, honest but for the changes, with all checksums right."""
        own = {"task": self.task.fingerprint, "layout": self.task.layout.digest, "age": 1}
        return forged(self.body() if body is None else body, preamble=preamble, **{**own, **changes})

    @asynccontextmanager
    async def outlaw(self):
        """An attacker with an identity, a connection and an agreed stream."""
        async with Outlaw.connected_to(self.host) as outlaw:
            await outlaw.open_stream()
            yield outlaw

    async def accept(self) -> None:
        """Send an honest model, and wait until it is merged."""
        event = self.peer._learner.state.event
        async with self.outlaw() as honest:
            await honest.send_data(self.frame())
            await until(lambda: self.peer._learner.state.event == event + 1)
        self.before = self.peer._learner.state


Attack = Callable[[Target], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Parameters
    ----------
    what : str
        The input, for the table.
    error : type or None
        The named error, under whose counter it is counted.
    consequence : str
        What follows; each attack checks it as far as its own side can see.
    attack : callable
    """

    what: str
    error: type[errors.GossipflError] | None
    consequence: str
    attack: Attack

    @property
    def counter(self) -> str:
        return self.error.counter() if self.error else ""


CASES: list[Case] = []


def case(what: str, error: type[errors.GossipflError] | None, consequence: str):
    def add(attack: Attack) -> Attack:
        CASES.append(Case(what, error, consequence, attack))
        return attack

    return add


def bad_frame(
    what: str, error: type[errors.GossipflError], consequence: str, make: Callable[[Target], bytes]
) -> None:
    """Add a case of one bad frame on an otherwise well-behaved connection."""

    async def attack(target: Target) -> None:
        async with target.outlaw() as outlaw:
            await outlaw.send_data(make(target))
            await outlaw.receive_until(error.counter().encode())
            if consequence == TOLD_AND_CLOSED:
                await outlaw.receive_all()
            elif consequence == TOLD:
                await outlaw.open_stream(3)
                await outlaw.send_data(make(target), 3)
                await outlaw.receive_until(error.counter().encode())
            else:
                await outlaw.send_data(make(target))
                await outlaw.receive_until(error.counter().encode())

    CASES.append(Case(what, error, consequence, attack))
