"""Errors for the operator to act on."""

from __future__ import annotations

from gossipfl.errors.root import GossipflError

__all__ = [
    "CacheError",
    "CorruptBackup",
    "CorruptCheckpoint",
    "CorruptIdentity",
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
