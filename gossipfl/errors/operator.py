"""Errors for the operator to act on."""

from __future__ import annotations

from gossipfl.errors.root import GossipflError

__all__ = [
    "CacheError",
    "CorruptBackup",
    "CorruptCheckpoint",
    "CorruptIdentity",
    "CorruptTyping",
    "DoorMissing",
    "HomeError",
    "HomeExists",
    "HomeInUse",
    "HomeMissing",
    "IdentityInUseTwice",
    "InvalidAddress",
    "InvalidInvitation",
    "InvalidPartition",
    "MembershipError",
    "OldSpelling",
    "SettingError",
    "UnknownAlgorithm",
]


class SettingError(GossipflError, ValueError):
    """A setting in a TOML file, a flag or an argument is wrong."""


class OldSpelling(FutureWarning):
    """A setting has its old name, and was understood; the message gives the new one."""


class UnknownAlgorithm(SettingError):
    """No algorithm has this name."""


class UnknownAttack(SettingError):
    """No attack has this name."""


class InvalidAddress(SettingError):
    """An address is not a multiaddress of the form ``/ip4/HOST/tcp/PORT[/p2p/PEER_ID]``."""


class DoorMissing(SettingError):
    """A peer listens beyond its own machine, but nothing says who may connect."""


class InvalidPartition(SettingError):
    """A partition is unknown, or impossible for these data."""


class MembershipError(GossipflError):
    """A network of members cannot be created, joined or changed as requested."""


class InvalidInvitation(MembershipError):
    """A text is not an invitation, or one that was truncated or mistyped."""


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


class CorruptTyping(HomeError):
    """The store of what is typed cannot be read, or its key cannot."""
