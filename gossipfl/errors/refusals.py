"""Refusals of what the other peer sent."""

from __future__ import annotations

from gossipfl.errors.root import GossipflError

__all__ = [
    "ChecksumMismatch",
    "ConnectionRefusedByPolicy",
    "IdentityMismatch",
    "ImplausibleAge",
    "IncompatibleModel",
    "IncompatibleRounds",
    "IncompatibleTask",
    "MalformedFrame",
    "MalformedStatement",
    "MessageRefused",
    "MessageTooLarge",
    "NonFiniteUpdate",
    "RateLimited",
    "ReplayedMessage",
    "StreamLimitExceeded",
    "TruncatedFrame",
    "UnexpectedRound",
    "UnexpectedTensor",
    "UnknownCodec",
    "UnsupportedVersion",
    "UselessTraffic",
    "WindowOverrun",
]


class MessageRefused(GossipflError):
    """A message from another peer was refused; this peer's model is unchanged."""


class MalformedFrame(MessageRefused):
    """The bytes are no frame of this protocol."""


class MalformedStatement(MalformedFrame):
    """The bytes are no certificate, revocation, rotation or charter, and nothing that a door is told."""


class TruncatedFrame(MessageRefused):
    """The stream ended inside a frame."""


class UnsupportedVersion(MessageRefused):
    """The frame's protocol version is not spoken here."""


class MessageTooLarge(MessageRefused):
    """A length in the frame is above its limit; nothing was allocated."""


class IncompatibleTask(MessageRefused):
    """The sender learns another task."""


class IncompatibleModel(MessageRefused):
    """The sender's layout (names, shapes, dtypes of the shared parameters) is another."""


class IncompatibleRounds(MessageRefused):
    """The sender learns in other rounds (roster, algorithm, topology, codec, seed), or only one of both does."""


class UnexpectedRound(MessageRefused):
    """The row is of a round or an exchange in which the sender has none for this peer, or that cannot be."""


class UnknownCodec(MessageRefused):
    """The row is encoded in a way this peer does not read."""


class UnexpectedTensor(MessageRefused):
    """A tensor's name, dtype or shape is not what the codec and this peer's layout imply."""


class ChecksumMismatch(MessageRefused):
    """The body does not have the checksum its header claims."""


class NonFiniteUpdate(MessageRefused):
    """The row, or its age, holds NaN or an infinity."""


class ImplausibleAge(MessageRefused):
    """The row claims to descend from more training than any network can have done."""


class ReplayedMessage(MessageRefused):
    """The message is not newer than the last one from this sender."""


class RateLimited(MessageRefused):
    """The sender sends more than its share."""


class StreamLimitExceeded(MessageRefused):
    """The connection opened more streams than allowed."""


class UselessTraffic(MessageRefused):
    """The sender floods the connection with frames that carry nothing."""


class WindowOverrun(MessageRefused):
    """The sender wrote past the receive window it was granted."""


class ConnectionRefusedByPolicy(MessageRefused):
    """The connection is over a limit, or its peer is not allowed."""


class IdentityMismatch(MessageRefused):
    """The peer proved another identity than the one expected, or none.

    Parameters
    ----------
    what : str
    expected, got : object, optional
    proved : str, optional
        The identity that was proved instead.
    """

    def __init__(
        self, what: str, *, expected: object = None, got: object = None, proved: str | None = None
    ) -> None:
        super().__init__(what, expected=expected, got=got)
        self.proved = proved
