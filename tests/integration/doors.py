"""Victims behind a door, and those who knock at it: members, strangers, and whoever shows what is not its own."""

import hashlib
import time
from contextlib import asynccontextmanager
from dataclasses import replace

from gossipfl.errors import GossipflError, NotAdmitted
from gossipfl.membership import CertificateDoor, Invitation, OpenDoor, Role, SecretDoor, Threshold
from gossipfl.network import Identity, ask_for_grant, load_or_create_identity
from gossipfl.network.failures import ConnectionLost
from gossipfl.peer.membership.charter import beyond_frames, charter_of
from gossipfl.peer.membership.issuing import invite
from gossipfl.peer.membership.ledger import read_entry, write_entry
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.membership.members import KEYS, authority, certificate, network, revocation
from tests.gossipfl.network.helpers import Outlaw

from .hostile import Target

#: Two of three keys sign.
NETWORK = network(*KEYS[:3], threshold=2)
SIGNERS = KEYS[:2]
REVOKED, REVOKED_ISSUER = (Identity(hashlib.sha256(each).digest()) for each in (b"revoked", b"its issuer"))
SECRET = b"s" * 32


def signed(subject, of=NETWORK, keys=SIGNERS, **changes):
    return certificate(of, subject, keys=keys, **changes)


def settle(home, door):
    """Give the peer that will live in a home what its door needs."""
    store = MembershipStore(home / "membership")
    if door == "secret":
        store.write_secret(SECRET)
        return
    own = load_or_create_identity(home)
    known = authority(
        NETWORK,
        *(revocation(NETWORK, each, keys=SIGNERS) for each in (REVOKED, REVOKED_ISSUER)),
        now=time.time(),
    )
    store.write_authority(known)
    store.write_certificate(signed(own, role=Role.ISSUER))


class Showing(OpenDoor):
    """Shows any bytes, and lets everybody in."""

    def __init__(self, shown):
        self._shown = shown

    def introduction(self, session):
        return self._shown(session) if callable(self._shown) else self._shown


def showing(statement):
    """A door that shows a certificate, whosever it is."""
    shown = CertificateDoor(authority(NETWORK), certificate=lambda: statement)
    return Showing(shown.introduction)


class DoorTarget(Target):
    """A running peer behind a door, as whoever knocks sees it."""

    def __init__(self, peer, door):
        super().__init__(peer)
        self.door = door
        settings, task = peer.settings, peer.task
        charter = charter_of(settings, task, layout=peer.task.layout.digest)
        self.charter = charter if door == "certificates" else beyond_frames(charter)
        self.store = MembershipStore(peer.home.membership)

    def own_door(self, identity):
        return SecretDoor(SECRET) if self.door == "secret" else showing(signed(identity))

    @asynccontextmanager
    async def outlaw(self):
        identity = Identity.generate()
        threshold = Threshold(self.own_door(identity), self.charter)
        async with Outlaw.connected_to(self.host, identity, threshold=threshold) as outlaw:
            await outlaw.open_stream()
            yield outlaw

    def threshold(self, door):
        return Threshold(door, self.charter)

    async def knock(self, door, *, identity=None, charter=None) -> GossipflError:
        """Knock, and return what this side is told."""
        threshold = Threshold(door, self.charter if charter is None else charter)
        try:
            async with Outlaw.connected_to(self.host, identity, threshold=threshold):
                raise AssertionError("the door opened")
        except (GossipflError, ConnectionLost) as error:
            return error

    async def is_not_a_member(self, door, *, identity=None) -> None:
        """Knock, and be told the one thing that strangers are told."""
        told = await self.knock(door, identity=identity)
        assert isinstance(told, NotAdmitted), told
        assert str(told).startswith(f"peer {self.host.peer_id} answered: not a member")

    def expired_invitation(self) -> Invitation:
        made = self.invitation()
        entry = read_entry(self.store, made.number)
        write_entry(self.store, replace(entry, expires=int(time.time()) - 1))
        return made

    def invitation(self, **changes) -> Invitation:
        identity = load_or_create_identity(self.peer.home.directory)
        address = self.host.addresses[0].partition("/p2p/")[0]
        made = invite(
            self.store,
            self.store.authority(),
            identity,
            addresses=[address],
            role=Role.MEMBER,
            hours=1,
            days=1,
        )
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        return made

    async def is_not_joined(self, invitation, told="not a member") -> None:
        """Ask to join, and be refused with these words."""
        try:
            await ask_for_grant(Identity.generate(), invitation)
        except NotAdmitted as error:
            assert str(error).startswith(f"peer {self.host.peer_id} answered: {told}")
        else:
            raise AssertionError("a certificate was granted")
