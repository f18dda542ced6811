"""A peer's entrance: its door, and its membership of a network."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gossipfl.errors import NotAllowed, SettingError
from gossipfl.membership import AllowingDoor, Door, OpenDoor, SecretDoor, Signed, Threshold
from gossipfl.network import Handler, Host, Identity, Knocks, Screen
from gossipfl.peer.assembly import bootstrap_peers
from gossipfl.peer.membership.charter import beyond_frames, require_charter
from gossipfl.peer.membership.door_choice import allowed_peers, door_kind
from gossipfl.peer.membership.news import Membership
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.peer.membership.troubles import (
    bootstrap_not_allowed,
    charter_not_followed,
    refused_by_others,
    without_right,
)
from gossipfl.settings import PeerSettings
from gossipfl.settings.addresses import public_key_of

__all__ = ["Entrance"]


class Entrance:
    """The rules for who may connect to a peer, and to whom it connects.

    Parameters
    ----------
    directory : Path
        The peer's membership directory.
    charter : mapping of str to str
        What this peer's neighbours must share, in canonical JSON.
    follows_charter : bool
        Whether it must equal the network's charter.

    Raises
    ------
    DoorMissing
        The peer listens beyond its own machine, but no door is configured.
    SettingError, MembershipError, HomeError
        Something that the door needs is missing, or the settings differ from the network's charter.
    """

    def __init__(
        self,
        settings: PeerSettings,
        directory: Path,
        identity: Identity,
        *,
        charter: Mapping[str, str],
        follows_charter: bool = True,
    ) -> None:
        store = MembershipStore(directory)
        self._home, self._own_id, self._charter = str(store.directory.parent), identity.peer_id, charter
        self._note_known(settings)
        allowed = self._allowed
        self._membership: Membership | None = None
        kind = door_kind(settings, store)
        if kind == "allow" and not allowed:
            raise SettingError(
                "membership.door: the list of allowed peers is empty",
                expected='network.allow = ["12D3KooW…"]',
                got="no peer id",
                remedy="List the peers to admit, or choose another door.",
            )
        inner: Door | None = None
        if kind == "secret":
            inner = SecretDoor(store.secret())
        elif kind == "certificates":
            self._membership = Membership(store, identity)
            if follows_charter:
                require_charter(self._membership.authority, charter)
            inner = self._membership.door
        door = self._door = AllowingDoor(allowed, then=inner) if allowed else inner or OpenDoor()
        self.name = door.name
        self.threshold = Threshold(door, charter if self._membership else beyond_frames(charter))

    @property
    def network(self) -> bytes:
        """Id of the network, 32 bytes; zeros if its members have no certificates."""
        return bytes(32) if self._membership is None else self._membership.authority.id

    def certificate(self) -> bytes:
        """Return this peer's own certificate; empty if it has none."""
        return b"" if self._membership is None else self._membership.certificate.to_bytes()

    def require_member(self, peer_id: str, certificate: bytes, *, among: Collection[str] | None) -> None:
        """Require that a peer that is not connected is a member, by a certificate that another has passed on.

        Parameters
        ----------
        among : collection of str, optional
            Peer ids that may be admitted; by default all.

        Raises
        ------
        NotAMember
            It is not.
        MalformedStatement
            The certificate is none.
        """
        if among is not None and peer_id not in among:
            raise NotAllowed("the peer is not on the roster", got=peer_id)
        if peer_id != self._own_id and self._door.is_stranger(peer_id):
            raise NotAllowed("the peer is not on the list of allowed peers, or was revoked", got=peer_id)
        if self._membership is not None:
            key = public_key_of(peer_id)
            self._membership.authority.member(Signed.from_bytes(certificate), subject=key, now=time.time())

    def serve(self, host: Host, answer: Handler, *, screen: Screen | None = None) -> None:
        """Start answering: news here, everything else by `answer`; known peers get standing."""
        host.standing.knows = lambda peer_id: peer_id in self._allowed or peer_id in self._bootstrap
        if self._membership is not None:
            self._membership.attach(host)
            answer = self._membership.before(answer)
        host.serve(answer, screen=screen)

    def allow_as(self, settings: PeerSettings) -> None:
        """Admit the peers that changed settings allow, and no others; `Members.require` then drops those.

        Raises
        ------
        SettingError
            The list of allowed peers was empty, or would be: that is another door.
        """
        allowed = allowed_peers(settings)
        if isinstance(self._door, AllowingDoor) != bool(allowed):
            raise SettingError(
                "network.allow: a list that was empty, or becomes so, cannot change while the peer runs",
                remedy="Restart the peer.",
            )
        if isinstance(self._door, AllowingDoor):
            self._door.allow_only(allowed)
        self._note_known(settings)

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return background tasks by name."""
        return {} if self._membership is None else {"membership": self._membership.run}

    def described(self, knocks: Knocks) -> dict[str, Any]:
        """Return door and membership as plain values, for the status."""
        membership = {} if self._membership is None else self._membership.described()
        return {"door": self.name, **membership, **knocks.described()}

    def troubles(self, knocks: Knocks) -> dict[str, str]:
        """Return why this peer and others do not admit each other, by the names of conditions."""
        member, problem = self._membership, self._membership.problem() if self._membership else None
        found = {
            "membership": without_right(problem, home=self._home) if problem else None,
            "charter": charter_not_followed(member.authority, self._charter) if member else None,
            "allow": bootstrap_not_allowed(self._bootstrap, self._allowed),
            "refused": None
            if problem
            else refused_by_others(knocks.turned_away_by, door=self.name, own=self._own_id, home=self._home),
        }
        return {name: text for name, text in found.items() if text is not None}

    def why_alone(self, knocks: Knocks) -> Collection[str]:
        """Return the reasons for which a peer that is running reaches no other; none if none is known."""
        return list(self.troubles(knocks).values()) or knocks.other_settings

    def _note_known(self, settings: PeerSettings) -> None:
        self._allowed = allowed_peers(settings)
        self._bootstrap = frozenset(each.peer_id for each in bootstrap_peers(settings))
