"""Access to a peer's home for the network commands, whether or not the peer is running."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from gossipfl.errors import GossipflError, MembershipError
from gossipfl.network import Identity, Scope, load_or_create_identity, parse_address
from gossipfl.network.reachability import Reachability
from gossipfl.peer.membership.ledger import ledger
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.peer.status import read_status
from gossipfl.peer.store.home import Home
from gossipfl.settings import load_settings

__all__ = ["HomeOfMember", "without_identity"]


class HomeOfMember:
    """The parts of a home that commands need.

    Parameters
    ----------
    directory : Path
        A peer's home.

    Raises
    ------
    HomeMissing, HomeError
        It is not a peer's home, or cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory)
        self.home.require()
        self.store = MembershipStore(self.home.membership)

    @property
    def identity(self) -> Identity:
        """The peer's identity."""
        return load_or_create_identity(self.home.directory)

    def charter(self) -> dict[str, str]:
        """Return this peer's values of the settings that all members must share.

        Raises
        ------
        SettingError, TaskError
            The settings or the task are wrong.
        """
        from gossipfl.peer.gossip.plan import gossip_plan, in_full  # imports torch
        from gossipfl.peer.membership.charter import charter_of
        from gossipfl.peer.peer import Peer
        from gossipfl.training import Nodes

        peer = Peer(self.home.directory)
        settings, task = peer.settings, peer.task
        if settings.rounds.algorithm is not None:
            return charter_of(settings, task, layout=task.layout.digest)
        row = task.initial_row(settings.runtime.number)
        plan = gossip_plan(settings, task, Nodes.start(row[None], optimiser_state_size=0))
        return charter_of(in_full(settings), task, layout=plan.layout)

    def has_met(self, peer_id: str) -> bool:
        """Return whether this peer has admitted another, or its last status names it."""
        try:
            met = read_status(self.home.status, whole=False).get("peers", [])
        except GossipflError:
            met = []
        return peer_id in {
            *(each["peer"] for each in ledger(self.store)),
            *(each.get("peer_id") for each in met),
        }

    def addresses(self) -> list[str]:
        """Return the peer's addresses: those in its last status, or else those that its settings imply.

        Raises
        ------
        MembershipError
            None are known.
        """
        network = load_settings(self.home.settings).network
        try:
            running = read_status(self.home.status, whole=False).get("addresses", [])
        except GossipflError:
            running = []
        if running:
            return list(without_identity(running))
        listened = [parse_address(each) for each in network.listen if not each.endswith("/tcp/0")]
        announced = [parse_address(each) for each in network.announce]
        return list(
            without_identity([str(each) for each in Reachability(listened, announced=announced).addresses()])
        )


def without_identity(addresses: Collection[str]) -> Sequence[str]:
    """Return at most eight addresses without the peer id, as an invitation holds them.

    Raises
    ------
    MembershipError
        There is none, or one cannot be dialled.
    """
    parsed = [parse_address(each, smallest_port=1, circuits=True) for each in addresses]
    parsed = [each for each in parsed if each.relay is None]
    for each in parsed:
        if each.scope is Scope.NOWHERE:
            raise MembershipError(
                "this address cannot be dialled",
                expected="one at which the new peer can reach this one, such as /ip4/192.0.2.7/tcp/4001",
                got=str(each),
            )
    bare = list(dict.fromkeys(str(each).partition("/p2p/")[0] for each in parsed))
    if not bare:
        raise MembershipError(
            "a new peer could not reach this one to join: it has no known address",
            remedy="Start it first, or say where it will listen: --address /ip4/192.0.2.7/tcp/4001.",
        )
    return bare[:8]
