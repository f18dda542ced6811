"""Peers that were met once, kept on disk: the gone are tried ever more rarely, for weeks, and all when alone.

So a network that was parted heals without a bootstrap peer on the other side.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import trio

from gossipfl.errors import GossipflError
from gossipfl.files import write_atomically
from gossipfl.network import limited_logger, parse_address, prefix_of
from gossipfl.peer.gossip.book import KnownPeer, descriptor_from, descriptor_values
from gossipfl.wire import PeerDescriptor, is_signed

__all__ = ["Acquaintance", "Acquaintances"]

_MOST: Final = 1024
_MOST_BYTES: Final = 4 * 2**20
_WEEK: Final = 7 * 86_400.0
_FORGOTTEN_SECONDS: Final = 8 * _WEEK
_LONGEST_PAUSE_SECONDS: Final = 6 * 3600.0
_LONGEST_CONFIGURED_SECONDS: Final = 60.0
_LONGEST_ALONE_SECONDS: Final = 4.0
_FIRST_ALONE_SECONDS: Final = 0.5

logger = limited_logger(__name__)


@dataclass(slots=True)
class Acquaintance:
    """A peer that was met, or that settings name.

    Parameters
    ----------
    peer : KnownPeer
    met_at : float
        When it last answered, in seconds since 1970; 0 if never.
    tries : int
        That failed since.
    try_at : float
        When to try it next.
    """

    peer: KnownPeer
    met_at: float = 0.0
    tries: int = 0
    try_at: float = 0.0


@dataclass(slots=True)
class Acquaintances:
    """Whom a peer has met.

    Parameters
    ----------
    generator : numpy.random.Generator
        Pauses vary at random by a quarter.
    first_pause : float
        Seconds until one that has gone is tried for the first time; twice as long each time after, up to 6 hours.
    path : Path, optional
        Where they are kept.
    clock : callable, optional
        Returns seconds since 1970.
    """

    generator: np.random.Generator
    first_pause: float
    path: Path | None = None
    clock: Callable[[], float] = time.time
    _all: dict[str, Acquaintance] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, peer_id: object) -> bool:
        return peer_id in self._all

    def configure(self, peer: KnownPeer) -> None:
        """Take in a peer that settings name, or no longer do: it is tried at once, and never forgotten."""
        known = self._all.get(peer.peer_id)
        if known is not None and (known.met_at or peer.configured):
            known.peer = replace(known.peer, configured=peer.configured)
        elif known is not None:
            del self._all[peer.peer_id]
        elif peer.configured:
            self._all[peer.peer_id] = Acquaintance(peer)

    def met(self, peer: KnownPeer) -> None:
        """Note that a peer answered."""
        now = self.clock()
        known = self._all.setdefault(peer.peer_id, Acquaintance(peer))
        known.peer, known.met_at, known.tries, known.try_at = peer, now, 0, now
        if len(self._all) > _MOST:
            self._make_room()

    def failed(self, peer_id: str, *, alone: bool) -> None:
        """Note that a peer did not answer."""
        known = self._all.get(peer_id)
        if known is None:
            return
        first, longest = self.first_pause, _LONGEST_PAUSE_SECONDS
        if known.peer.is_bootstrap:
            first, longest = min(first, _FIRST_ALONE_SECONDS), _LONGEST_CONFIGURED_SECONDS
            longest = _LONGEST_ALONE_SECONDS if alone else longest
        pause = min(longest, first * 2.0 ** min(known.tries, 32)) * (0.75 + 0.5 * self.generator.random())
        known.tries += 1
        known.try_at = self.clock() + pause

    def due(
        self, *, neighbours: Collection[str], under_way: Collection[str], alone: bool
    ) -> KnownPeer | None:
        """Whom to try now, if anybody: who has gone, in its time; alone, whoever was met last."""
        now = self.clock()
        candidates = [
            each
            for peer_id, each in self._all.items()
            if peer_id not in neighbours
            and peer_id not in under_way
            and (each.try_at <= now or each.try_at > now + 2 * _LONGEST_PAUSE_SECONDS)  # a clock may go back
            and (alone or each.tries or each.peer.is_bootstrap)
        ]
        if not candidates:
            return None
        return min(candidates, key=lambda each: (not each.peer.is_bootstrap, each.tries, -each.met_at)).peer

    def _make_room(self) -> None:
        """Forget the one that was not met for longest, of the network that most are in."""
        others = [each for each in self._all.values() if not each.peer.is_bootstrap]
        crowds = Counter(_network_of(each.peer) for each in others)
        most = max(crowds.values(), default=0)
        crowded = [each for each in others if crowds[_network_of(each.peer)] == most]
        if crowded:
            del self._all[min(crowded, key=lambda each: each.met_at).peer.peer_id]

    def to_values(self) -> list[dict[str, Any]]:
        """All that were ever met, as plain values; not those that were not met for eight weeks."""
        now = self.clock()
        return [
            {
                **descriptor_values(each.peer),
                "met_at": each.met_at,
                "tries": each.tries,
                "try_at": each.try_at,
            }
            for each in self._all.values()
            if each.met_at > now - _FORGOTTEN_SECONDS and each.peer.descriptor.signature
        ]

    def restore(self, values: list[dict[str, Any]]) -> None:
        """Take in what was saved. Bad entries are skipped."""
        for each in values[:_MOST]:
            try:
                descriptor, scope = descriptor_from(each)
                _require_sound(descriptor)
                said = [float(each[key]) for key in ("met_at", "try_at")]
                tries = int(each["tries"])
            except (KeyError, TypeError, ValueError, GossipflError) as error:
                logger.warning("a peer that was met earlier is skipped: %s", repr(error)[:200])
                continue
            known = self._all.get(descriptor.peer_id)
            configured = known.peer.configured if known else ()
            peer = KnownPeer(descriptor=descriptor, narrowest=scope, configured=configured)
            self._all[descriptor.peer_id] = Acquaintance(peer, said[0], max(tries, 0), said[1])

    def load(self) -> None:
        """Take in what is on the disk, if anything; a damaged file is only reported."""
        if self.path is None or not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                self.restore(list(json.loads(file.read(_MOST_BYTES))["peers"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged, and peers met earlier are forgotten: %s", self.path, error)

    async def keep_for_ever(self, period: float) -> None:
        """Write them down every `period` seconds, and a last time at the end; a disk that refuses is reported."""
        try:
            while True:
                await trio.sleep(period)
                await trio.to_thread.run_sync(self._save, self.to_values())
        finally:
            self._save(self.to_values())

    def _save(self, values: list[dict[str, Any]]) -> None:
        if self.path is None:
            return
        try:
            write_atomically(self.path, json.dumps({"version": 1, "peers": values}).encode())
        except OSError as error:
            logger.warning("the peers that were met cannot be written down: %s", error.strerror)


def _require_sound(descriptor: PeerDescriptor) -> None:
    if not is_signed(descriptor):
        raise ValueError("the announcement is not signed by the peer it names")
    for address in descriptor.addresses:
        parse_address(address, smallest_port=1)


def _network_of(peer: KnownPeer) -> str:
    """The network that a peer's first address is in; a name's own."""
    for address in peer.descriptor.addresses[:1]:
        parsed = parse_address(address)
        return parsed.host if parsed.is_name else prefix_of(parsed.host)
    return ""
