"""Refusals of peers that may not take part."""

from __future__ import annotations

from gossipfl.errors.refusals import MessageRefused

__all__ = [
    "CertificateExpired",
    "CertificateForged",
    "CertificateMissing",
    "CertificateNotYetValid",
    "CertificateOfAnotherNetwork",
    "CertificateOfAnotherPeer",
    "CertificateRevoked",
    "IncompatibleCharter",
    "InvitationExpired",
    "InvitationUnknown",
    "InvitationUsed",
    "NotAMember",
    "NotAllowed",
    "SecretNotProved",
    "TooFewSignatures",
]


class NotAMember(MessageRefused):
    """The other peer has not shown that it may take part."""


class NotAllowed(NotAMember):
    """The peer is not among those that may connect."""


class SecretNotProved(NotAMember):
    """The peer has not proved to hold the secret, in this very connection."""


class CertificateMissing(NotAMember):
    """The peer showed no certificate."""


class CertificateForged(NotAMember):
    """A signature is not by the key it names."""


class TooFewSignatures(NotAMember):
    """Fewer network keys have signed than must, or keys that are none of this network's."""


class CertificateOfAnotherNetwork(NotAMember):
    """The certificate is of another network."""


class CertificateOfAnotherPeer(NotAMember):
    """The certificate is another peer's than the one whose identity was proved."""


class CertificateNotYetValid(NotAMember):
    """The certificate begins later; or a clock is wrong."""


class CertificateExpired(NotAMember):
    """The certificate has ended; or a clock is wrong."""


class CertificateRevoked(NotAMember):
    """The peer, or whoever let it in, was put out of the network."""


class InvitationUnknown(NotAMember):
    """No invitation of this peer's has this number and this secret."""


class InvitationExpired(NotAMember):
    """The invitation was not used in time."""


class InvitationUsed(NotAMember):
    """Another peer has joined with the invitation, which is good for one."""


class IncompatibleCharter(MessageRefused):
    """Settings that all members have alike differ from the other peer's."""
