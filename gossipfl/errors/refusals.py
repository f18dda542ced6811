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
    """The bytes are not a frame of this protocol."""


class MalformedStatement(MalformedFrame):
    """The bytes are not a statement (certificate, revocation, rotation, charter), credential or step of a sum."""


class TruncatedFrame(MessageRefused):
    """The stream ended inside a frame."""


class UnsupportedVersion(MessageRefused):
    """The frame's protocol version is not supported."""


class MessageTooLarge(MessageRefused):
    """A length in the frame exceeds its limit; no memory was allocated."""


class IncompatibleTask(MessageRefused):
    """The sender is learning a different task."""


class IncompatibleModel(MessageRefused):
    """The sender's layout (names, shapes, dtypes of the shared parameters) is different."""


class IncompatibleRounds(MessageRefused):
    """The sender takes part in other rounds (roster, algorithm, topology, codec, seed), or only one does."""


class UnexpectedRound(MessageRefused):
    """The row belongs to a round or exchange that is impossible, or in which the sender has none to send here."""


class UnknownCodec(MessageRefused):
    """The codec of the row is unknown here."""


class UnexpectedTensor(MessageRefused):
    """A tensor's name, dtype or shape is not what the codec and this peer's layout imply."""


class ChecksumMismatch(MessageRefused):
    """The checksum of the body is not the one in its header."""


class NonFiniteUpdate(MessageRefused):
    """The row, or its age, holds NaN or an infinity."""


class ImplausibleAge(MessageRefused):
    """The row claims more training steps than any network can have done."""


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
    """The connection exceeds a limit, or its peer is not allowed."""


class IdentityMismatch(MessageRefused):
    """The peer proved a different identity than expected, or none.

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
