"""A process of peers under siege: each is attacked in turn with every hostile input, for as long as it lives.

The attackers are in the victims' process, so what it holds is an upper bound of what the peers hold.
"""

import itertools
import logging
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import torch
import trio

from gossipfl.network import Identity
from gossipfl.network.failures import ConnectionLost
from gossipfl.peer import Peer
from gossipfl.settings import PeerSettings

from . import door_inputs, service_inputs  # noqa: F401  (add their lines)
from .doors import DoorTarget, settle
from .forked import SERVER
from .hostile import Case, PartsTarget, RoundsTarget, Target
from .hostile_inputs import CASES
from .peers import quick_settings
from .test_hostile import IN_PARTS, with_rounds

#: A network that leaves two processors to others.
SETTINGS = {
    "exchange": {"period": 0.5, "patience": 2.0, "deadline": 3.0},
    "view": {"period": 2.0},
    "network": {"dial_seconds": 1.5},
    "checkpoint": {"period": 2.0},
    "evaluation": {"period": 2.0},
}
LONGEST_ATTACK = 4.0  # seconds
ALONE = ("open", "certificates", "secret", "rounds", "parts")


def home_of(directory: Path, name: int | str) -> Path:
    return directory / f"peer-{name}"


class Besieged:
    """Peers of one network, and victims alone behind each kind of door, in this process."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory, self.nursery = directory, nursery
        self.peers: dict[int, Peer] = {}
        self.alone: dict[str, Peer] = {}
        self.attacker = Identity.generate()
        self.siege: trio.CancelScope | None = None
        self.attempts: Counter[str] = Counter()
        self.as_written: Counter[str] = Counter()
        self.dice = random.Random(os.getpid())

    def start(self, index: int, bootstrap: list[str]) -> None:
        settings = quick_settings(index, bootstrap=bootstrap, **SETTINGS)
        self.peers[index] = self._live(home_of(self.directory, index), settings)

    def start_alone(self) -> None:
        for door in ALONE:
            gossip = IN_PARTS if door == "parts" else {}
            settings = quick_settings(0, **SETTINGS, gate={"enabled": False}, gossip=gossip)
            home = home_of(self.directory, door)
            if door == "rounds":
                settings = with_rounds(settings, home, self.attacker)
            elif door in ("certificates", "secret"):
                settle(home, door)
            self.alone[door] = self._live(home, settings)

    def _live(self, home: Path, settings: PeerSettings) -> Peer:
        peer = Peer(home, settings=settings)
        self.nursery.start_soon(peer.run)
        return peer

    def stop(self, index: int) -> None:
        self.peers.pop(index).stop()

    def cut(self) -> None:
        """Reset all connections, without a word to the other side."""
        for connection in self._connections():
            connection._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.abort(ConnectionLost("the connection was cut"))

    def set_clock(self, ahead: float) -> None:
        time.time = lambda: _TRUE_TIME() + ahead

    def besiege(self, attackers: int) -> None:
        self.nursery.start_soon(self._attack_for_ever, attackers)

    def relieve(self) -> None:
        self.siege.cancel()

    async def _attack_for_ever(self, attackers: int) -> None:
        async with trio.open_nursery() as nursery:
            self.siege = nursery.cancel_scope
            for number in range(attackers):
                first = number * len(CASES) // attackers
                nursery.start_soon(self._attack_in_turn, CASES[first:] + CASES[:first])

    async def _attack_in_turn(self, cases: list[Case]) -> None:
        for case in itertools.cycle(cases):
            if victims := [peer for peer in self._victims_of(case) if peer.ready.is_set()]:
                await self._attack(case, self.dice.choice(victims))
            await trio.sleep(0.1)

    def _victims_of(self, case: Case) -> list[Peer]:
        kind = "rounds" if case.in_rounds else "parts" if case.in_parts else case.door
        if kind != "open":
            return [self.alone[kind]] if self.alone else []
        return [*self.peers.values(), *([self.alone["open"]] if self.alone else [])]

    async def _attack(self, case: Case, victim: Peer) -> None:
        self.attempts[case.what] += 1
        with trio.move_on_after(LONGEST_ATTACK):
            try:
                await case.attack(_target(case, victim, self.attacker))
                self.as_written[case.what] += 1
            except Exception:  # others attack the same victim, so what an attacker sees may differ
                pass

    def _connections(self) -> list:
        hosts = [peer._incarnation.host for peer in self._all_peers() if peer.ready.is_set()]
        return [each for host in hosts for each in host._table.all() if each.alive]

    def _all_peers(self) -> list[Peer]:
        return [*self.peers.values(), *self.alone.values()]

    def report(self) -> dict:
        process = psutil.Process()
        with process.oneshot():
            return {
                "peers": {
                    index: _described(peer) for index, peer in self.peers.items() if peer.ready.is_set()
                },
                "refused": sum((peer.counters.refused for peer in self._all_peers()), Counter()),
                "resident": process.memory_info().rss,
                "cpu": sum(process.cpu_times()[:2]),
                "descriptors": process.num_fds(),
                "threads": Counter(each.name for each in threading.enumerate()),
                "tasks": Counter(task.name for task in _all_tasks()),
                "connected": Counter(each.peer_id for each in self._connections()),
                "attempts": self.attempts,
                "as_written": self.as_written,
                "tracebacks": list(_TRACEBACKS),
            }


class AttackedAgain(Target):
    """A victim, of whose refusals only those since this attack began count."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.refused_before = Counter(self.peer.counters.refused)

    @property
    def refused(self) -> Counter:
        return self.peer.counters.refused - self.refused_before


class RoundsAttackedAgain(AttackedAgain, RoundsTarget):
    pass


class PartsAttackedAgain(AttackedAgain, PartsTarget):
    pass


class DoorAttackedAgain(AttackedAgain, DoorTarget):
    pass


def _target(case: Case, victim: Peer, attacker: Identity) -> Target:
    if case.in_rounds:
        return RoundsAttackedAgain(victim, attacker)
    if case.in_parts:
        return PartsAttackedAgain(victim)
    return AttackedAgain(victim) if case.door == "open" else DoorAttackedAgain(victim, case.door)


def _described(peer: Peer) -> dict:
    status = peer.status()
    return {
        "peer_id": status.peer_id,
        "addresses": list(status.addresses),
        "age": status.age,
        "accuracy": status.metrics.get("accuracy", 0.0),
        "conditions": [each["name"] for each in status.conditions],
        "exchanges": peer.counters.messages_sent,
    }


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    waiting = [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


_TRUE_TIME = time.time
_TRACEBACKS: deque[str] = deque(maxlen=10)


class _Tracebacks(logging.Handler):
    """Keeps what was logged with a traceback; a log file would be refused with the other writes."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            _TRACEBACKS.append(logging.Formatter().format(record))


async def _serve(directory: Path, orders: Connection) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(handlers=[_Tracebacks()])
    async with trio.open_nursery() as nursery:
        besieged = Besieged(directory, nursery)
        while True:
            await trio.lowlevel.wait_readable(orders.fileno())
            verb, *arguments = orders.recv()
            if verb == "end":
                break
            orders.send(getattr(besieged, verb)(*arguments))
        nursery.cancel_scope.cancel()


def _run(directory: Path, orders: Connection, err: Path) -> None:
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), sys.stderr.fileno())
    trio.run(_serve, directory, orders)


class Process:
    """A process of besieged peers, as the test sees it."""

    def __init__(self, directory: Path, number: int) -> None:
        SERVER.set_forkserver_preload([__name__])
        self.err = directory / f"process-{number}.err"
        self._orders, theirs = SERVER.Pipe()
        self.process = SERVER.Process(target=_run, args=(directory, theirs, self.err))
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, verb: str, *arguments):
        """Give an order, and return its outcome; fail if the process has ended."""
        try:
            self._orders.send((verb, *arguments))
            assert self._orders.poll(60), f"no answer to {verb}: {self.err.read_text()}"
            return self._orders.recv()
        except (OSError, EOFError):
            self.process.join(10)
            raise AssertionError(f"it ended ({self.process.exitcode}): {self.err.read_text()}") from None

    def end(self) -> None:
        """Let the peers leave in an orderly manner."""
        self._orders.send(("end",))
        self.process.join(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._orders.close()
