"""Network membership without sockets: credentials, doors and charters; see ``docs/membership.md``."""

from gossipfl.membership.authority import Authority, Member
from gossipfl.membership.charter import canonical
from gossipfl.membership.doors import (
    SECRET_BYTES,
    AllowingDoor,
    CertificateDoor,
    Door,
    OpenDoor,
    SecretDoor,
)
from gossipfl.membership.invitations import Grant, Invitation, is_proved, number_in, request
from gossipfl.membership.network_keys import KeySet, Network, Rotation
from gossipfl.membership.sessions import Session
from gossipfl.membership.signing import Signed, Signer
from gossipfl.membership.statements import Certificate, Charter, Revocation, Role
from gossipfl.membership.threshold import MEMBERSHIP_PROTOCOL, NOT_A_MEMBER, Joined, Threshold, ask_to_join
from gossipfl.membership.vouching import (
    is_voucher,
    revocations_anew,
    vouch_for_revocations,
    vouch_for_those_of,
)

__all__ = [
    "MEMBERSHIP_PROTOCOL",
    "NOT_A_MEMBER",
    "SECRET_BYTES",
    "AllowingDoor",
    "Authority",
    "Certificate",
    "CertificateDoor",
    "Charter",
    "Door",
    "Grant",
    "Invitation",
    "Joined",
    "KeySet",
    "Member",
    "Network",
    "OpenDoor",
    "Revocation",
    "Role",
    "Rotation",
    "SecretDoor",
    "Session",
    "Signed",
    "Signer",
    "Threshold",
    "ask_to_join",
    "canonical",
    "is_proved",
    "is_voucher",
    "number_in",
    "request",
    "revocations_anew",
    "vouch_for_revocations",
    "vouch_for_those_of",
]
