"""Refused admissions, by this peer and by others, with their reasons."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from gossipfl.errors import GossipflError, IncompatibleCharter, NotAdmitted
from gossipfl.network.log_limits import limited_logger
from gossipfl.recent import RecentMap

__all__ = ["Knocks"]

_MOST_REMEMBERED: Final = 32
_MOST_SHOWN: Final = 8
_log = limited_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Knock:
    address: str
    why: str
    said: str
    at: float
    times: int


class Knocks:
    """The latest refusals by peer id, for the operator; the refused peer is not told the reason."""

    def __init__(self) -> None:
        self._turned_away: RecentMap[str, _Knock] = RecentMap(_MOST_REMEMBERED)
        self._turned_away_by: RecentMap[str, _Knock] = RecentMap(_MOST_REMEMBERED)

    def note(self, peer_id: str, address: str, error: GossipflError) -> None:
        """Record a connection refused at the door, either this peer's or the other's."""
        if isinstance(error, NotAdmitted):
            _log.warning("%s refused to admit this peer: %s", peer_id, error)
            _remember(self._turned_away_by, peer_id, address, error)
            return
        if isinstance(error, IncompatibleCharter):
            _log.warning("member %s at %s has different settings: %s", peer_id, address, error)
        else:
            _log.warning("refused to admit %s at %s: %s", peer_id, address, error)
        _remember(self._turned_away, peer_id, address, error)

    def let_in(self, peer_id: str) -> None:
        """Forget the refusals of a peer: it and this one have admitted each other."""
        self._turned_away.pop(peer_id, None)
        self._turned_away_by.pop(peer_id, None)

    @property
    def turned_away_by(self) -> tuple[str, ...]:
        """Peers whose latest answer was that this one is not a member."""
        return tuple(self._turned_away_by)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons for which others were refused, as the counters name them."""
        return tuple(each.why for each in self._turned_away.values())

    def described(self) -> Mapping[str, Any]:
        """Return the latest refusals as plain values, for the status."""
        return {
            "turned_away": _described(self._turned_away),
            "turned_away_by": _described(self._turned_away_by),
        }


def _remember(knocks: RecentMap[str, _Knock], peer_id: str, address: str, error: GossipflError) -> None:
    times = knocks[peer_id].times + 1 if peer_id in knocks else 1
    knocks[peer_id] = _Knock(address, error.counter(), str(error)[:300], time.time(), times)


def _described(knocks: RecentMap[str, _Knock]) -> list[dict[str, Any]]:
    newest = list(reversed(knocks.items()))[:_MOST_SHOWN]
    return [{"peer": peer, **asdict(each)} for peer, each in newest]
