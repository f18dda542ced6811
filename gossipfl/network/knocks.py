"""Refused admissions, by this peer and by others, with their reasons."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from gossipfl.errors import GossipflError, IncompatibleCharter, NotAdmitted
from gossipfl.network.addresses import prefix_of
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.rates import TokenBucket
from gossipfl.recent import RecentMap

__all__ = ["Knocks"]

_MOST_REMEMBERED: Final = 32
_MOST_SHOWN: Final = 8
_MOST_NETWORKS: Final = 256
_LINES_AT_ONCE: Final = 3.0
_LINES_PER_SECOND: Final = 1 / 60
_log = limited_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Knock:
    address: str
    why: str
    said: str
    at: float
    times: int


class Knocks:
    """The latest refusals by peer id, for the operator; the refused peer is not told the reason.

    A stranger can make any number of identities. When there are too many entries, the network (/24 or /48) with
    most of them loses its oldest, and each network has its own share of the log.
    """

    def __init__(self) -> None:
        self._turned_away: dict[str, _Knock] = {}
        self._turned_away_by: dict[str, _Knock] = {}
        self._lines: RecentMap[str, TokenBucket] = RecentMap(_MOST_NETWORKS)

    def note(self, peer_id: str, address: str, error: GossipflError) -> None:
        """Record a connection refused at the door, either this peer's or the other's."""
        level = logging.WARNING if self._may_log(address) else logging.DEBUG
        if isinstance(error, NotAdmitted):
            _log.log(level, "%s refused to admit this peer: %s", peer_id, error)
            _remember(self._turned_away_by, peer_id, address, error)
            return
        if isinstance(error, IncompatibleCharter):
            _log.log(level, "member %s at %s has different settings: %s", peer_id, address, error)
        else:
            _log.log(level, "refused to admit %s at %s: %s", peer_id, address, error)
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
    def other_settings(self) -> tuple[str, ...]:
        """The latest message about a peer with different settings; empty if there is none."""
        counter = IncompatibleCharter.counter()
        return tuple(each.said for each in self._turned_away.values() if each.why == counter)[-1:]

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

    def _may_log(self, address: str) -> bool:
        now, network = time.monotonic(), _network(address)
        self._lines[network] = bucket = self._lines.get(network) or TokenBucket(
            rate=_LINES_PER_SECOND, burst=_LINES_AT_ONCE, now=now
        )
        return bucket.take(1, now=now)


def _remember(knocks: dict[str, _Knock], peer_id: str, address: str, error: GossipflError) -> None:
    before = knocks.pop(peer_id, None)
    times = 1 if before is None else before.times + 1
    knocks[peer_id] = _Knock(address, error.counter(), str(error)[:300], time.time(), times)
    if len(knocks) > _MOST_REMEMBERED:
        crowds = Counter(_network(each.address) for each in knocks.values())
        most = max(crowds.values())
        del knocks[next(peer for peer, each in knocks.items() if crowds[_network(each.address)] == most)]


def _network(address: str) -> str:
    return prefix_of(address) if address else ""


def _described(knocks: Mapping[str, _Knock]) -> list[dict[str, Any]]:
    """Return a few entries, the newest of each network first."""
    seen: Counter[str] = Counter()
    ranked = []
    for peer, each in reversed(list(knocks.items())):
        network = _network(each.address)
        ranked.append((seen[network], {"peer": peer, **asdict(each)}))
        seen[network] += 1
    return [values for _, values in sorted(ranked, key=lambda each: each[0])[:_MOST_SHOWN]]
