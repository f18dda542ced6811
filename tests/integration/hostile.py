"""Common parts of the attackers of a running peer; the attacks are in `hostile_inputs`."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from gossipfl import errors
from gossipfl.codecs import FLOAT32
from gossipfl.network import Identity, open_host
from gossipfl.peer import Peer
from gossipfl.peer.assembly import expectation_in
from gossipfl.wire import Expectation, Kind, Progress, RoundForm, RoundsExpectation, encode, encode_round
from tests.gossipfl.network.helpers import Outlaw, until
from tests.gossipfl.wire.frames import forged
from tests.gossipfl.wire.test_round_messages import forged_round

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
        self.before = peer._incarnation.learner.state

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
    async def outlaw(self, identity: Identity | None = None):
        """An attacker with an identity, a connection and an agreed stream."""
        async with Outlaw.connected_to(self.host, identity) as outlaw:
            await outlaw.open_stream()
            yield outlaw

    async def accept(self) -> None:
        """Send an honest model, and wait until it is merged."""
        event = self.peer._incarnation.learner.state.event
        async with self.outlaw() as honest:
            await honest.send_data(self.frame())
            await until(lambda: self.peer._incarnation.learner.state.event == event + 1)
        self.before = self.peer._incarnation.learner.state


class RoundsTarget(Target):
    """A running peer in rounds of two, the other one its attackers, who are admitted and so insiders."""

    def __init__(self, peer: Peer, attacker: Identity) -> None:
        super().__init__(peer)
        self.attacker = attacker
        self.agreement = bytes.fromhex(self.rounds["agreement"])

    @property
    def rounds(self):
        return self.peer.status().rounds

    def frame(self, *, body: bytes | None = None, preamble: dict | None = None, **changes) -> bytes:
        """A row for round 0, honest but for the changes."""
        own = {"task": self.task.fingerprint, "layout": self.task.layout.digest, "agreement": self.agreement}
        said = {**own, "round": 0, "incarnation": 1, **changes}
        return forged_round(self.body() if body is None else body, preamble=preamble, **said)

    @asynccontextmanager
    async def outlaw(self):
        async with Outlaw.connected_to(self.host, self.attacker) as outlaw:
            await outlaw.open_stream()
            yield outlaw

    async def accept(self) -> None:
        """Send an honest row for the round that the peer is at, and wait until it is mixed."""
        number, size = self.rounds["round"], self.task.layout.shared_size
        form = RoundForm(size=size, codecs=(FLOAT32,))
        said = {"task": self.task.fingerprint, "agreement": self.agreement, "incarnation": 1}
        expects = Expectation(
            task=self.task.fingerprint,
            layout=self.task.layout.digest,
            size=size,
            codecs=(FLOAT32,),
            rounds=RoundsExpectation(agreement=self.agreement, forms=(form,)),
        )

        async def take(peer_id, message):
            return encode(Progress(round=number, exchange=0, kept=True, **said))

        row = FLOAT32.encode(torch.zeros(size))
        frame = encode_round(
            row, codec="float32", layout=self.task.layout.digest, position=(number, 0), **said
        )
        async with open_host(self.attacker, expectation=expects) as honest:
            honest.serve(take)
            reply = await honest.exchange(self.host.peer_id, self.host.addresses, frame, seconds=20)
            assert reply.kept
            await until(lambda: self.peer._incarnation.learner.state.event > number)
        self.before = self.peer._incarnation.learner.state


class PartsTarget(Target):
    """A running peer whose models are divided into fixed parts, one of them a message."""

    parts = 4

    @property
    def layout(self) -> bytes:
        """Digest of the layout, which is another one in parts."""
        incarnation = self.peer._incarnation
        return expectation_in(incarnation._plan, incarnation.task).layout

    def part(self, number: int, value: float = 0.5) -> bytes:
        """The numbers of a part."""
        places = range(number, self.task.layout.shared_size, self.parts)
        return torch.full((len(places),), value).numpy().tobytes()

    def frame(self, *, body: bytes | None = None, preamble: dict | None = None, **changes) -> bytes:
        """A frame with part 0, honest but for the changes."""
        said = {"layout": self.layout, "part": 0, "ages": [1] * self.parts, **changes}
        return super().frame(
            body=self.part(0) if body is None else body,
            preamble={"kind": Kind.PART, **(preamble or {})},
            **said,
        )


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
    in_rounds : bool
        Whether the victim learns in rounds, and the attacker is in its roster.
    door : str
        The victim's door.
    in_parts : bool
        Whether the victim's models are divided into parts.
    """

    what: str
    error: type[errors.GossipflError] | None
    consequence: str
    attack: Attack
    in_rounds: bool = False
    door: str = "open"
    in_parts: bool = False

    @property
    def counter(self) -> str:
        return self.error.counter() if self.error else ""


CASES: list[Case] = []


def case(
    what: str,
    error: type[errors.GossipflError] | None,
    consequence: str,
    *,
    in_rounds: bool = False,
    door: str = "open",
    in_parts: bool = False,
):
    def add(attack: Attack) -> Attack:
        CASES.append(Case(what, error, consequence, attack, in_rounds, door, in_parts))
        return attack

    return add


def bad_frame(
    what: str,
    error: type[errors.GossipflError],
    consequence: str,
    make: Callable[[Target], bytes],
    *,
    in_rounds: bool = False,
    in_parts: bool = False,
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

    CASES.append(Case(what, error, consequence, attack, in_rounds, in_parts=in_parts))
