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
    """The peer is not on the list of those that may connect."""


class SecretNotProved(NotAMember):
    """The peer has not proved, in this connection, that it holds the secret."""


class CertificateMissing(NotAMember):
    """The peer showed no certificate."""


class CertificateForged(NotAMember):
    """A signature was not made by the key that it names."""


class TooFewSignatures(NotAMember):
    """Fewer of this network's keys have signed than must."""


class CertificateOfAnotherNetwork(NotAMember):
    """The certificate belongs to another network."""


class CertificateOfAnotherPeer(NotAMember):
    """The certificate belongs to a peer other than the one that proved its identity."""


class CertificateNotYetValid(NotAMember):
    """The certificate is not valid yet, or a clock is wrong."""


class CertificateExpired(NotAMember):
    """The certificate has expired, or a clock is wrong."""


class CertificateRevoked(NotAMember):
    """The peer, or the issuer that let it in, was revoked."""


class InvitationUnknown(NotAMember):
    """No invitation of this peer has this number and secret."""


class InvitationExpired(NotAMember):
    """The invitation was not used in time."""


class InvitationUsed(NotAMember):
    """Another peer has already joined with the invitation."""


class IncompatibleCharter(MessageRefused):
    """Settings that all members must share differ from the other peer's."""
