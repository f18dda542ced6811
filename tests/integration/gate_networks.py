"""Networks of honest digits peers with two label shards each, as processes, and liars among them."""

import contextlib

import torch
import trio

from gossipfl.demo.plan import RECIPE
from gossipfl.membership import CertificateDoor, OpenDoor, Threshold
from gossipfl.peer import Home
from gossipfl.peer.control import Requests, write_requests
from gossipfl.peer.membership.at_home import HomeOfMember
from gossipfl.peer.membership.charter import beyond_frames
from gossipfl.peer.membership.founding import found
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.settings import PeerSettings, parse_settings
from gossipfl.tasks import find_task

from .liar import Liar
from .peers import PeerProcess, record_lines
from .test_membership import hand_over

PEERS = 8
EVENTS = 1500
#: Half as long as in the demo, so that they have long settled after EVENTS: then networks differ by little.
DECAY_AGE = 450


def digits_settings(index, *, bootstrap=(), peers=PEERS, **changes) -> PeerSettings:
    """Settings of one of the demo's peers, with two label shards; ``changes`` replace single values of tables."""
    tables = {name: dict(table) for name, table in RECIPE.items()}
    tables["task"] = {
        "name": "digits",
        "options": {"partition": "shards:2", "peers": peers, "index": index, "seed": 0},
    }
    tables["runtime"] = {"number": index}
    for table, values in changes.items():
        tables.setdefault(table, {}).update(values)
    tables["network"]["bootstrap"] = list(bootstrap)
    return parse_settings(tables, source="a test")


def open_threshold(home: Home) -> Threshold:
    """How a stranger with a peer's settings enters where the door is open."""
    return Threshold(OpenDoor(), beyond_frames(HomeOfMember(home.directory).charter()))


class GateNetwork:
    """Eight honest peers, which let everybody in, or members of a network of their own.

    With ``door="certificates"`` they admit only those whom `member` has given a certificate.
    """

    def __init__(self, directory, *, door="open", **changes):
        self.directory, self.door = directory, door
        self.changes = {"training": {"decay_age": DECAY_AGE}, **changes}
        self.peers: list[PeerProcess] = []
        self.founder: HomeOfMember | None = None
        self.task = find_task("digits", digits_settings(0).task.options)

    @contextlib.contextmanager
    def running(self):
        """Peers that run, and wait for `begin`."""
        try:
            bootstrap = ()
            for index in range(PEERS):
                settings = digits_settings(index, bootstrap=bootstrap, **self.changes)
                peer = PeerProcess(self.directory / f"peer-{index}", settings, forked=True)
                if self.door == "certificates":
                    self._certify(peer.home)
                write_requests(peer.home.requests, Requests(paused=True))
                self.peers.append(peer.start("--plain"))
                bootstrap = bootstrap or self.peers[0].until_at(event=0)["addresses"]
            for peer in self.peers:
                peer.until_at(event=0)
            yield self
        finally:
            running = [peer.process for peer in self.peers if peer.process is not None]
            for process in running:
                process.terminate()
            for process in running:
                process.wait(timeout=60)

    def begin(self) -> None:
        """Let all learn from the same moment on, however long the starts took."""
        for peer in self.peers:
            write_requests(peer.home.requests, Requests())

    def _certify(self, home: Home) -> HomeOfMember:
        own = HomeOfMember(home.directory)
        if self.founder is None:
            self.founder = own
            found(own.store, own.identity, name="digits", charter=own.charter())
        else:
            hand_over(self.founder, own)
        return own

    def liar(self, lie: str, *, number=0, is_member=False) -> Liar:
        """A liar: with a certificate, or as anybody who has heard of the network."""
        settings = digits_settings(0, **self.changes)
        if not is_member:
            threshold = open_threshold(self.peers[0].home)
            return Liar(lie, self.task, settings, seed=number, threshold=threshold)
        home = Home(self.directory / f"liar-{number}")
        home.create(settings)
        own = self._certify(home)
        door = CertificateDoor(own.store.authority(), certificate=own.store.certificate)
        return Liar(
            lie,
            self.task,
            settings,
            seed=number,
            threshold=Threshold(door, own.charter()),
            identity=own.identity,
        )

    @property
    def victims(self) -> list[tuple[str, tuple[str, ...]]]:
        statuses = [peer.status() for peer in self.peers]
        return [(status["peer_id"], tuple(status["addresses"])) for status in statuses]

    async def until_merged(self, events: int, liars: set[str]) -> None:
        """Wait until each peer has merged so many models of honest peers: a liar's bring nobody further."""

        def merged(peer: PeerProcess) -> int:
            return sum(
                each["kind"] == "merge" and each["sender"] not in liars for each in record_lines(peer.home)
            )

        for peer in self.peers:
            while merged(peer) < events:
                await trio.sleep(0.5)

    async def until_all(self, **least) -> None:
        while not all(peer.is_at(**least) for peer in self.peers):
            await trio.sleep(0.1)

    def points(self) -> list[float]:
        """Accuracy of each peer's last model in percent, once all have ended."""
        rows = torch.stack([read_row(peer.home.checkpoint)[0] for peer in self.peers])
        data = self.task.dataset()
        accuracies = self.task.evaluate(rows, data.test_inputs, data.test_targets)["accuracy"]
        return [100 * float(each) for each in accuracies]

    def records(self) -> list[dict]:
        return [each for peer in self.peers for each in record_lines(peer.home)]


async def learn(
    network: GateNetwork,
    lies=(),
    *,
    is_member: bool = False,
    events: int = EVENTS,
    after: int = 0,
    beside: GateNetwork | None = None,
) -> list[Liar]:
    """Let the honest learn from each other for some events, with a liar for each lie after the first few.

    An undisturbed network may learn ``beside`` it, on the same machine at the same time: what a network reaches
    depends on the load.
    """
    undisturbed = contextlib.nullcontext() if beside is None else beside.running()
    with trio.fail_after(1100), network.running(), undisturbed:
        for each in (network, beside):
            if each is not None:
                each.begin()
        await network.until_all(event=after)
        liars = [network.liar(lie, number=number, is_member=is_member) for number, lie in enumerate(lies)]
        async with trio.open_nursery() as nursery:
            for liar in liars:
                nursery.start_soon(liar.run, network.victims)
            await network.until_merged(events, {each.identity.peer_id for each in liars})
            if beside is not None:
                await beside.until_merged(events, set())
            nursery.cancel_scope.cancel()
    return liars
