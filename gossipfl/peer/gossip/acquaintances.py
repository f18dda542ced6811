"""Peers met earlier, kept on disk and retried for weeks, ever more rarely, and all of them when alone.

A partitioned network thus heals without a bootstrap peer on the other side.
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
from gossipfl.network import limited_logger
from gossipfl.peer.gossip.known_peer import (
    KnownPeer,
    descriptor_from,
    descriptor_values,
    require_sound,
)
from topology.parsing import json_of

__all__ = ["Acquaintance", "Acquaintances"]

_MOST: Final = 1024
_MOST_BYTES: Final = 4 * 2**20
_WEEK: Final = 7 * 86_400.0
_FORGOTTEN_SECONDS: Final = 8 * _WEEK
_LONGEST_PAUSE_SECONDS: Final = 6 * 3600.0
_LONGEST_CONFIGURED_SECONDS: Final = 60.0
_LONGEST_ALONE_SECONDS: Final = 4.0
_FIRST_ALONE_SECONDS: Final = 0.5
_JITTER: Final = 0.75
_CONFIGURED_JITTER: Final = 0.25
_TOGETHER_SECONDS: Final = 60.0

logger = limited_logger(__name__)


@dataclass(slots=True)
class Acquaintance:
    """A peer that has been met, or that settings name.

    Parameters
    ----------
    met_at : float
        When it last answered, in seconds since 1970; 0 if never.
    tries : int
        Failed attempts since.
    try_at : float
        When to try it next.
    reached_in : str
        The network (/24 or /48) in which it last answered; "" if that is not known since a restart.
    """

    peer: KnownPeer
    met_at: float = 0.0
    tries: int = 0
    try_at: float = 0.0
    reached_in: str = ""

    @property
    def network(self) -> str:
        """The network that it is in or, until it answers, announces."""
        return self.reached_in or self.peer.network


@dataclass(slots=True)
class Acquaintances:
    """The peers that a peer has met.

    Parameters
    ----------
    generator : numpy.random.Generator
        For the jitter of pauses: three quarters either way for the lost, so that the members of a parted half do
        not all try at the same times and then pause together; a quarter for peers that settings name.
    first_pause : float
        Seconds until a lost peer is first retried, doubled each time up to 6 hours.
    path : Path, optional
        File to store them in.
    clock : callable, optional
        Returns seconds since 1970.
    """

    generator: np.random.Generator
    first_pause: float
    path: Path | None = None
    clock: Callable[[], float] = time.time
    _all: dict[str, Acquaintance] = field(default_factory=dict)
    _prefers_configured: bool = False

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, peer_id: object) -> bool:
        return peer_id in self._all

    def configure(self, peer: KnownPeer) -> None:
        """Update a peer that settings name, or no longer name; a named one is tried at once, never forgotten."""
        known = self._all.get(peer.peer_id)
        if known is not None and (known.met_at or peer.configured):
            known.peer = replace(known.peer, configured=peer.configured)
        elif known is not None:
            del self._all[peer.peer_id]
        elif peer.configured:
            self._all[peer.peer_id] = Acquaintance(peer)

    def met(self, peer: KnownPeer, *, network: str = "") -> None:
        """Record that a peer answered, in a network if that is known.

        If it had been lost, so may be whatever lay between: those last met at about the same time are tried soon.
        """
        now = self.clock()
        known = self._all.setdefault(peer.peer_id, Acquaintance(peer))
        if known.tries and known.met_at:
            self._hurry(known, now)
        known.reached_in = network or known.reached_in
        known.peer, known.met_at, known.tries, known.try_at = peer, now, 0, now
        if len(self._all) > _MOST:
            self._make_room()

    def failed(self, peer_id: str, *, alone: bool) -> None:
        """Record that a peer did not answer."""
        known = self._all.get(peer_id)
        if known is None:
            return
        first, longest, jitter = self.first_pause, _LONGEST_PAUSE_SECONDS, _JITTER
        if known.peer.is_bootstrap:
            first, longest = min(first, _FIRST_ALONE_SECONDS), _LONGEST_CONFIGURED_SECONDS
            longest, jitter = _LONGEST_ALONE_SECONDS if alone else longest, _CONFIGURED_JITTER
        swing = 1.0 + jitter * (2.0 * self.generator.random() - 1.0)
        pause = min(longest, first * 2.0 ** min(known.tries, 32)) * swing
        known.tries += 1
        known.try_at = self.clock() + pause

    def due(
        self, *, neighbours: Collection[str], under_way: Collection[str], alone: bool
    ) -> KnownPeer | None:
        """Return the peer to try now, if any: a lost one that is due; when alone, the one met most recently.

        Peers that settings name take turns with the others: a list of them that are all down must not keep a peer
        from those it has met.
        """
        now = self.clock()
        candidates = [
            each
            for peer_id, each in self._all.items()
            if peer_id not in neighbours
            and peer_id not in under_way
            and (
                each.try_at <= now or each.try_at > now + 2 * _LONGEST_PAUSE_SECONDS
            )  # the clock may go back
            and (alone or each.tries or each.peer.is_bootstrap)
        ]
        if not candidates:
            return None
        self._prefers_configured = not self._prefers_configured
        return min(
            candidates,
            key=lambda each: (
                each.peer.is_bootstrap is not self._prefers_configured,
                each.tries,
                -each.met_at,
            ),
        ).peer

    def _hurry(self, back: Acquaintance, now: float) -> None:
        for each in self._all.values():
            if each is not back and each.tries and abs(each.met_at - back.met_at) < _TOGETHER_SECONDS:
                each.try_at = min(each.try_at, now + self.first_pause * self.generator.random())

    def _make_room(self) -> None:
        """Forget the peer met longest ago, from the network that most of them are in."""
        others = [each for each in self._all.values() if not each.peer.is_bootstrap]
        crowds = Counter(each.network for each in others)
        most = max(crowds.values(), default=0)
        crowded = [each for each in others if crowds[each.network] == most]
        if crowded:
            del self._all[min(crowded, key=lambda each: each.met_at).peer.peer_id]

    def to_values(self) -> list[dict[str, Any]]:
        """Return the peers met within the last eight weeks as plain values."""
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
        """Restore saved peers. Invalid entries are skipped."""
        for each in values[:_MOST]:
            try:
                descriptor, scope = descriptor_from(each)
                require_sound(descriptor)
                met_at, try_at = float(each["met_at"]), float(each["try_at"])
                tries = int(each["tries"])
            except (KeyError, TypeError, ValueError, OverflowError, GossipflError) as error:
                logger.warning("skipped an invalid entry among peers met earlier: %s", repr(error)[:200])
                continue
            known = self._all.get(descriptor.peer_id)
            configured = known.peer.configured if known else ()
            peer = KnownPeer(descriptor=descriptor, narrowest=scope, configured=configured)
            self._all[descriptor.peer_id] = Acquaintance(peer, met_at, max(tries, 0), try_at)

    def load(self) -> None:
        """Load the file, if there is one; a damaged file is only reported."""
        if self.path is None or not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                self.restore(list(json_of(file.read(_MOST_BYTES))["peers"]))
        except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
            logger.warning("%s is damaged, so peers met earlier are forgotten: %s", self.path, error)

    async def keep_for_ever(self, period: float) -> None:
        """Save them every `period` seconds and at the end, until cancelled; a disk error is only reported."""
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
            logger.warning("the peers met so far cannot be saved: %s", error.strerror)
