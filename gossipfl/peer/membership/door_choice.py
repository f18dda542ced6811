"""The choice of a peer's door: what its settings and its directory call for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from gossipfl.errors import DoorMissing
from gossipfl.network import Scope, parse_address
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings import PeerSettings

__all__ = ["allowed_peers", "door_kind", "with_introducers"]

_REMEDY: Final = (
    'Set one in peer.toml: network.allow = ["12D3KooW…"] for some peers, or [membership] door = "open" for '
    "everyone. Or create a network of members (`gossipfl network create --home {home}`) or join one (`gossipfl "
    "network join INVITATION --home {home}`); or share a secret among all peers: `gossipfl network secret --home "
    "{home}`."
)


def allowed_peers(settings: PeerSettings) -> frozenset[str]:
    """Return the peers to admit by their ids; none if there is no such list."""
    allowed, members = frozenset(settings.network.allow), frozenset(_roster(settings))
    return allowed & members or members if members else allowed


def _roster(settings: PeerSettings) -> Collection[str]:
    """Return the peer ids of the roster, if the peer learns in rounds."""
    rounds = settings.rounds
    if rounds.algorithm is None:
        return ()
    from gossipfl.rounds.roster import read_roster  # imports torch

    return read_roster(rounds, directory=Path()).members


def with_introducers(settings: PeerSettings, directory: Path) -> PeerSettings:
    """Return the settings with the peers that admitted this one added to the bootstrap peers."""
    known = settings.network.bootstrap
    bootstrap = [*known, *(each for each in MembershipStore(directory).introducers() if each not in known)]
    network = settings.network.model_copy(update={"bootstrap": bootstrap})
    return settings.model_copy(update={"network": network})


def door_kind(settings: PeerSettings, store: MembershipStore) -> str:
    """Return the door that settings call for, or the one that a peer's files and lists imply.

    Raises
    ------
    DoorMissing
        The peer listens beyond its own machine, but no door is configured.
    """
    if settings.membership.door != "auto":
        return settings.membership.door
    if store.has_certificate():
        return "certificates"
    if store.has_secret():
        return "secret"
    if allowed_peers(settings):
        return "allow"
    for each in settings.network.listen:
        address = parse_address(each)
        if address.is_name or address.scope is not Scope.LOOPBACK:
            raise DoorMissing(
                f"network.listen: {each} can be reached from other machines, but no door says who may connect",
                expected="a door",
                remedy=_REMEDY.format(home=store.directory.parent),
            )
    return "open"
