"""Bans of peers that break the protocol repeatedly, longer each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipfl.errors import (
    ChecksumMismatch,
    ExchangeTimedOut,
    GossipflError,
    MalformedFrame,
    MessageTooLarge,
    StreamLimitExceeded,
    UnexpectedTensor,
    UselessTraffic,
    WindowOverrun,
)
from gossipfl.recent import RecentMap

__all__ = ["Bans", "breaks_protocol", "weight_of"]

# What no correct implementation does. A different task, version or pace is refused, but is no offence.
_OFFENCES: Final = (
    ChecksumMismatch,
    MalformedFrame,
    MessageTooLarge,
    StreamLimitExceeded,
    UnexpectedTensor,
    UselessTraffic,
    WindowOverrun,
)
# Anyone's line may be bad once; a peer that is always slow occupies places that others could use.
_WEIGHT_OF_SLOWNESS: Final = 0.5
_SECONDS_UNTIL_FORGIVEN: Final = 60.0
_MOST_PEERS: Final = 4096


@dataclass(slots=True)
class _Record:
    offences: float = 0.0
    bans: int = 0
    last_offence: float = 0.0
    banned_until: float = 0.0


def breaks_protocol(error: GossipflError) -> bool:
    """Return whether the error is an offence, for which the connection is closed."""
    return isinstance(error, _OFFENCES)


def weight_of(error: GossipflError) -> float:
    """Return how much the error weighs as an offence."""
    if isinstance(error, ExchangeTimedOut):
        return _WEIGHT_OF_SLOWNESS
    return float(breaks_protocol(error))


@dataclass(kw_only=True, eq=False)
class Bans:
    """Offences and bans by proven peer id (not by address, which many peers may share).

    Parameters
    ----------
    first_ban_seconds, longest_ban_seconds : float
        Each ban of a peer lasts twice as long as its previous one. A peer without an offence for as long as the
        longest ban starts afresh.
    """

    offences_before_ban: int
    first_ban_seconds: float
    longest_ban_seconds: float

    def __post_init__(self) -> None:
        self._records: RecentMap[str, _Record] = RecentMap(_MOST_PEERS)

    def offend(self, peer_id: str, *, now: float, weight: float = 1.0) -> bool:
        """Record an offence at `now`, in seconds of a monotonic clock; return whether it led to a ban."""
        record = self._records.get(peer_id)
        if record is None or now - record.last_offence > self.longest_ban_seconds:
            record = _Record()
        self._records[peer_id] = record
        forgiven = (now - record.last_offence) / _SECONDS_UNTIL_FORGIVEN if record.offences else 0.0
        record.offences = max(0.0, record.offences - forgiven) + weight
        record.last_offence = now
        if record.offences <= self.offences_before_ban:
            return False
        record.offences = 0.0
        seconds = min(self.first_ban_seconds * 2**record.bans, self.longest_ban_seconds)
        record.banned_until = now + seconds
        record.bans += 1
        return True

    def is_banned(self, peer_id: str, *, now: float) -> bool:
        """Return whether the peer is banned at `now`."""
        record = self._records.get(peer_id)
        return record is not None and now < record.banned_until
