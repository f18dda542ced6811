"""Hostile inputs at the door of a running peer: lines of ``docs/security-table.md``."""

import struct
import time
from dataclasses import replace

from gossipfl import errors
from gossipfl.membership import NOT_A_MEMBER, OpenDoor, Role, SecretDoor
from gossipfl.membership.sessions import proof_of
from gossipfl.membership.signing import Signature
from gossipfl.network import Identity, ask_for_grant
from gossipfl.network.failures import ConnectionLost
from tests.gossipfl.membership.members import KEYS, key, network
from tests.gossipfl.network.helpers import Outlaw

from .doors import REVOKED, REVOKED_ISSUER, SECRET, SIGNERS, DoorTarget, Showing, showing, signed
from .hostile import case

__all__ = []

TURNED_AWAY = "told that it is not a member, and nothing else; socket closed"
SPENT = "told that, having proved the invitation's secret; socket closed"


def at_the_door(what, error, consequence=TURNED_AWAY, *, door="certificates"):
    return case(what, error, consequence, door=door)


def bad_certificate(what, error, statement, *, subject=None):
    """A line about a certificate that some identity shows."""

    @at_the_door(what, error)
    async def _(target: DoorTarget) -> None:
        identity = subject or Identity.generate()
        await target.is_not_a_member(showing(statement(identity)), identity=identity)


def forged(identity):
    statement = signed(identity)
    wrong = Signature(statement.signatures[0].key, bytes(64))
    return replace(statement, signatures=(wrong, *statement.signatures[1:]))


def by_issuer(identity, issuer, **changes):
    return signed(identity, issuer=(issuer, signed(issuer, role=Role.ISSUER, **changes)))


@at_the_door("somebody who does not introduce itself", errors.CertificateMissing)
async def _(target: DoorTarget) -> None:
    async with Outlaw.connected_to(target.host) as outlaw:
        assert await outlaw.receive_all() == NOT_A_MEMBER


@at_the_door("a stranger without a certificate", errors.CertificateMissing)
async def _(target: DoorTarget) -> None:
    await target.is_not_a_member(OpenDoor())


bad_certificate(
    "a certificate of another network",
    errors.CertificateOfAnotherNetwork,
    lambda identity: signed(identity, of=network(*KEYS[:3], threshold=2, name="other")),
)
bad_certificate(
    "the certificate of another peer",
    errors.CertificateOfAnotherPeer,
    lambda _: signed(key("a member")),
)
bad_certificate(
    "a certificate that has expired",
    errors.CertificateExpired,
    lambda identity: signed(identity, expires=int(time.time()) - 1),
)
bad_certificate(
    "a certificate that is not valid yet",
    errors.CertificateNotYetValid,
    lambda identity: signed(identity, not_before=int(time.time()) + 3600),
)
bad_certificate("a certificate with a forged signature", errors.CertificateForged, forged)
bad_certificate(
    "a certificate signed by fewer network keys than must sign",
    errors.TooFewSignatures,
    lambda identity: signed(identity, keys=SIGNERS[:1]),
)
bad_certificate(
    "a certificate signed by keys of one's own",
    errors.TooFewSignatures,
    lambda identity: signed(identity, keys=KEYS[3:5]),
)
bad_certificate(
    "a certificate by a member that is no issuer",
    errors.TooFewSignatures,
    lambda identity: signed(identity, issuer=(key("a member"), signed(key("a member")))),
)
bad_certificate(
    "a certificate by an issuer that was revoked",
    errors.CertificateRevoked,
    lambda identity: by_issuer(identity, REVOKED_ISSUER),
)
bad_certificate("a member that was revoked", errors.CertificateRevoked, signed, subject=REVOKED)


@at_the_door("a credential of 9 kB", errors.MalformedStatement, "socket closed")
async def _(target: DoorTarget) -> None:
    assert isinstance(await target.knock(Showing(b"\x02" + bytes(9_000))), ConnectionLost)


@at_the_door("random bytes as a certificate", errors.MalformedStatement)
async def _(target: DoorTarget) -> None:
    await target.is_not_a_member(Showing(b"\x02" + struct.pack("<H", 200) + bytes(range(200)) + b"\x00"))


@at_the_door(
    "a member with other settings", errors.IncompatibleCharter, "both name the fields; socket closed"
)
async def _(target: DoorTarget) -> None:
    identity = Identity.generate()
    charter = {**target.charter, "training.local_steps": "200"}
    told = await target.knock(showing(signed(identity)), identity=identity, charter=charter)
    assert isinstance(told, errors.IncompatibleCharter) and "training.local_steps (here 200)" in str(told)
    assert "training.learning_rate" not in str(told)


@at_the_door("an invitation with another secret", errors.InvitationUnknown)
async def _(target: DoorTarget) -> None:
    await target.is_not_joined(target.invitation(secret=bytes(16)))


@at_the_door("an invitation that nobody made", errors.InvitationUnknown)
async def _(target: DoorTarget) -> None:
    await target.is_not_joined(target.invitation(number=bytes(8)))


@at_the_door("an invitation that has expired", errors.InvitationExpired, SPENT)
async def _(target: DoorTarget) -> None:
    await target.is_not_joined(target.expired_invitation(), "the invitation has expired")


@at_the_door("an invitation that another peer has used", errors.InvitationUsed, SPENT)
async def _(target: DoorTarget) -> None:
    invitation = target.invitation()
    await ask_for_grant(Identity.generate(), invitation)
    await target.is_not_joined(invitation, "the invitation was used")


@at_the_door("another secret than that of the peers", errors.SecretNotProved, door="secret")
async def _(target: DoorTarget) -> None:
    await target.is_not_a_member(SecretDoor(b"t" * 32))


@at_the_door("the proof of another connection, replayed", errors.SecretNotProved, door="secret")
async def _(target: DoorTarget) -> None:
    identity, proofs = Identity.generate(), []

    class Recording(SecretDoor):
        def introduction(self, session):
            proofs.append(super().introduction(session))
            return proofs[-1]

    async with Outlaw.connected_to(target.host, identity, threshold=target.threshold(Recording(SECRET))):
        pass
    await target.is_not_a_member(Showing(proofs[0]), identity=identity)


@at_the_door("the peer's own proof, sent back to it", errors.SecretNotProved, door="secret")
async def _(target: DoorTarget) -> None:
    label = b"gossipfl secret 1\n"
    mirror = Showing(lambda session: b"\x01" + proof_of(SECRET, session, label=label, by_initiator=False))
    await target.is_not_a_member(mirror)
