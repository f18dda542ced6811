"""A peer's home as the commands about networks see it, whether the peer runs or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from gossipfl.errors import GossipflError, MembershipError
from gossipfl.network import Identity, Scope, load_or_create_identity, parse_address
from gossipfl.network.reachability import Reachability
from gossipfl.peer.gossip.plan import gossip_plan, in_full
from gossipfl.peer.membership.charter import charter_of
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.peer.peer import Peer
from gossipfl.peer.status import read_status
from gossipfl.peer.store.home import Home
from gossipfl.settings import load_settings
from gossipfl.training import Nodes

__all__ = ["HomeOfMember", "without_identity"]


class HomeOfMember:
    """What a command needs of a home.

    Parameters
    ----------
    directory : Path
        Holds a peer.

    Raises
    ------
    HomeMissing, HomeError
        It does not, or cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory)
        self.home.require()
        self.store = MembershipStore(self.home.membership)

    @property
    def identity(self) -> Identity:
        """The peer's own."""
        return load_or_create_identity(self.home.directory)

    def charter(self) -> dict[str, str]:
        """What all members must have alike, as this peer's settings have it.

        Raises
        ------
        SettingError, TaskError
            The settings or the task are wrong.
        """
        peer = Peer(self.home.directory)
        settings, task = peer.settings, peer.task
        if settings.rounds.algorithm is not None:
            return charter_of(settings, task, layout=task.layout.digest)
        row = task.initial_row(settings.runtime.number)
        plan = gossip_plan(settings, task, Nodes.start(row[None], optimiser_state_size=0))
        return charter_of(in_full(settings), task, layout=plan.layout)

    def addresses(self) -> list[str]:
        """Where others reach the peer: where it runs, or said that it did, or will by its settings.

        Raises
        ------
        MembershipError
            Nothing is known.
        """
        network = load_settings(self.home.settings).network
        try:
            told = read_status(self.home.status).get("addresses", [])
        except GossipflError:
            told = []
        if told:
            return list(without_identity(told))
        listened = [parse_address(each) for each in network.listen if not each.endswith("/tcp/0")]
        announced = [parse_address(each) for each in network.announce]
        return list(
            without_identity([str(each) for each in Reachability(listened, announced=announced).addresses()])
        )


def without_identity(addresses: Collection[str]) -> Sequence[str]:
    """Return addresses as an invitation holds them: the peer's id once, and not in each.

    Raises
    ------
    MembershipError
        There is none, or one that nobody can dial.
    """
    parsed = [parse_address(each, smallest_port=1) for each in addresses]
    for each in parsed:
        if each.scope is Scope.NOWHERE:
            raise MembershipError(
                "nobody can dial this address",
                expected="where the new peer reaches this one, such as /ip4/192.0.2.7/tcp/4001",
                got=str(each),
            )
    bare = list(dict.fromkeys(str(each).partition("/p2p/")[0] for each in parsed))
    if not bare:
        raise MembershipError(
            "nobody could reach this peer to join: it has no known address",
            remedy="Start it first, or say where it will listen: --address /ip4/192.0.2.7/tcp/4001.",
        )
    return bare[:8]
