"""Errors of gossipfl, one small tree named after meanings.

Each error says what was expected, what it got, and what to do. The branches follow who has to act: the
operator (`SettingError`, `HomeError`), the author of a task or an algorithm (`TaskError`, `InvalidAlgorithm`), the
other peer (`MessageRefused`), or nobody, because networks fail (`ExchangeFailed`).
"""

from __future__ import annotations

import re

from topology.errors import ExplainedError

__all__ = [
    "CacheError",
    "CertificateExpired",
    "CertificateForged",
    "CertificateMissing",
    "CertificateNotYetValid",
    "CertificateOfAnotherNetwork",
    "CertificateOfAnotherPeer",
    "CertificateRevoked",
    "ChecksumMismatch",
    "ConnectionRefusedByPolicy",
    "CorruptBackup",
    "CorruptCheckpoint",
    "CorruptIdentity",
    "DoorMissing",
    "ExchangeFailed",
    "ExchangeTimedOut",
    "GossipflError",
    "HomeError",
    "HomeExists",
    "HomeInUse",
    "HomeMissing",
    "IdentityInUseTwice",
    "IdentityMismatch",
    "ImplausibleAge",
    "IncompatibleCharter",
    "IncompatibleModel",
    "IncompatibleRounds",
    "IncompatibleTask",
    "InvalidAddress",
    "InvalidAlgorithm",
    "InvalidInvitation",
    "InvalidPartition",
    "InvalidTask",
    "InvitationExpired",
    "InvitationUnknown",
    "InvitationUsed",
    "MalformedFrame",
    "MalformedStatement",
    "MembershipError",
    "MessageRefused",
    "MessageTooLarge",
    "NonFiniteUpdate",
    "NotAMember",
    "NotAdmitted",
    "NotAllowed",
    "OldSpelling",
    "PeerBusy",
    "PeerUnreachable",
    "RateLimited",
    "RefusedByNeighbour",
    "ReplayedMessage",
    "SecretNotProved",
    "SettingError",
    "StreamLimitExceeded",
    "TaskError",
    "TooFewSignatures",
    "TruncatedFrame",
    "UnexpectedRound",
    "UnexpectedTensor",
    "UnknownAlgorithm",
    "UnknownCodec",
    "UnknownTask",
    "UnsupportedVersion",
    "UselessTraffic",
    "WindowOverrun",
]


class GossipflError(ExplainedError):
    """The root of all errors gossipfl raises on purpose; see `topology.errors.ExplainedError`."""

    @classmethod
    def counter(cls) -> str:
        """Name under which occurrences of this error are counted, e.g. ``message_too_large``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()


# The operator must act


class SettingError(GossipflError, ValueError):
    """A setting in a TOML file, a flag or an argument is wrong."""


class OldSpelling(FutureWarning):
    """A setting is written as it was called earlier, and was understood; the message has its present name."""


class UnknownAlgorithm(SettingError):
    """No algorithm has this name."""


class InvalidAddress(SettingError):
    """An address is not a multiaddress of the form ``/ip4/HOST/tcp/PORT[/p2p/PEER_ID]``."""


class DoorMissing(SettingError):
    """A peer listens beyond its own machine, and nothing says who may come in."""


class InvalidPartition(SettingError):
    """A partition was asked for that the data cannot give, or whose name is unknown."""


class MembershipError(GossipflError):
    """A network of members cannot be made, joined or changed as was asked."""


class InvalidInvitation(MembershipError):
    """A text is no invitation, or one that was cut or mistyped."""


class CacheError(GossipflError):
    """A cache is unknown, or cannot be cleared."""


class HomeError(GossipflError):
    """The directory of a peer cannot be used."""


class HomeMissing(HomeError):
    """The directory holds no peer yet."""


class HomeExists(HomeError):
    """The directory already holds a peer, and would be overwritten."""


class HomeInUse(HomeError):
    """Another running process owns the directory."""


class CorruptIdentity(HomeError):
    """The key file is damaged or readable by others."""


class IdentityInUseTwice(HomeError):
    """Two running peers have the same key."""


class CorruptBackup(HomeError):
    """A backup of a home is damaged."""


class CorruptCheckpoint(HomeError):
    """A checkpoint cannot be read, or belongs to another task or layout."""


# The author of a task must act


class TaskError(GossipflError):
    """A task is wrong."""


class UnknownTask(TaskError):
    """No bundled task has this name, and it is no importable ``package.module:factory``."""


class InvalidTask(TaskError):
    """A task's model, loss, metrics or data break what training needs."""


# The author of an algorithm must act


class InvalidAlgorithm(GossipflError):
    """An algorithm cannot be imported, fails, or does in its rounds what nothing that runs it can carry out."""


# The other peer sent something that cannot be accepted


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


# The other peer may not take part


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


# Networks fail


class ExchangeFailed(GossipflError):
    """An exchange with a neighbour failed; another neighbour may do."""


class PeerUnreachable(ExchangeFailed):
    """No connection could be made."""


class ExchangeTimedOut(ExchangeFailed):
    """The deadline of the exchange passed."""


class NotAdmitted(ExchangeFailed):
    """The other peer says that this one is not a member of its network."""


class PeerBusy(ExchangeFailed):
    """The neighbour is up, and declined for now."""


class ProtocolNotSpoken(ExchangeFailed):
    """The neighbour speaks none of the protocols that were proposed."""


class RefusedByNeighbour(ExchangeFailed):
    """The neighbour refused what this peer sent.

    Parameters
    ----------
    code : str
        The neighbour's reason: what `counter` gives for the error it met, e.g. ``incompatible_task``.
    text : str
        The neighbour's own words.
    remedy : str, optional
    """

    def __init__(self, code: str, text: str, *, remedy: str | None = None) -> None:
        super().__init__(f"the neighbour refused ({code}): {text}", remedy=remedy)
        self.code = code
