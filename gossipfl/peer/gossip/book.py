"""Address book: other peers' signed announcements, in bounded memory and without I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import InitVar, dataclass, replace
from typing import Any

import numpy as np

from gossipfl.errors import GossipflError, IdentityInUseTwice
from gossipfl.network import Scope, limited_logger
from gossipfl.peer.gossip.doubles import Doubles
from gossipfl.peer.gossip.known_peer import (
    KnownPeer,
    descriptor_from,
    descriptor_values,
    require_sound,
)
from gossipfl.recent import RecentMap
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor, is_signed

__all__ = ["AddressBook"]

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0
_LONGEST_BOOTSTRAP_RETRY_SECONDS = 4.0
_MOST_GONE = 1024

logger = limited_logger(__name__)


@dataclass(kw_only=True, eq=False)
class AddressBook:
    """Announcements of a bounded number of peers; unreachable peers and old announcements are dropped first.

    Parameters
    ----------
    own : callable
        Returns this peer's own descriptor.
    generator : numpy.random.Generator
        For all random choices.
    bootstrap : iterable of PeerDescriptor
        Initial peers.
    keeps : callable, optional
        Returns whether the entry of a peer id must stay; such entries do not count towards ``settings.size``.
    hearsay : int, optional
        Entries beyond ``settings.size``, for names that are heard in a period.
    outdo : callable, optional
        Called with a sequence number, known to others, that is ahead of this peer's own announcement.
    doubled : callable, optional
        Called with an error when an identity, this peer's or another's, is in use twice.
    """

    own: Callable[[], PeerDescriptor]
    settings: ViewSettings
    generator: np.random.Generator
    bootstrap: InitVar[Iterable[PeerDescriptor]] = ()
    keeps: Callable[[str], bool] = lambda _: False
    hearsay: int = 0
    outdo: Callable[[int], None] = lambda _: None
    doubled: InitVar[Callable[[IdentityInUseTwice], None]] = lambda _: None

    def __post_init__(
        self, bootstrap: Iterable[PeerDescriptor], doubled: Callable[[IdentityInUseTwice], None]
    ) -> None:
        self._doubles = Doubles(doubled)
        # Sequences of announcements of peers that were forgotten because they did not answer.
        self._gone: RecentMap[str, int] = RecentMap(_MOST_GONE)
        self._known: dict[str, KnownPeer] = {
            each.peer_id: KnownPeer(descriptor=each, configured=each.addresses)
            for each in bootstrap
            if each.peer_id != self.own().peer_id
        }

    def __len__(self) -> int:
        return len(self._known)

    @property
    def known(self) -> tuple[KnownPeer, ...]:
        """All peers in the book."""
        return tuple(self._known.values())

    def get(self, peer_id: str) -> KnownPeer | None:
        """Return the entry of a peer, if there is one."""
        return self._known.get(peer_id)

    def choose(self, *, now: float, exclude: Collection[str] = ()) -> KnownPeer | None:
        """Return a random neighbour that is not known to be down, or None."""
        candidates = [
            peer for peer in self._known.values() if peer.retry_at <= now and peer.peer_id not in exclude
        ]
        return candidates[int(self.generator.integers(len(candidates)))] if candidates else None

    def tell(self) -> tuple[PeerDescriptor, ...]:
        """Return the contents of a view: this peer, and random others whose latest exchange did not fail."""
        alive = [
            peer.descriptor
            for peer in self._known.values()
            if not peer.failures and peer.descriptor.signature
        ]
        count = min(len(alive), self.settings.exchanged - 1)
        chosen = self.generator.choice(len(alive), size=count, replace=False) if count else ()
        return (self.own(), *(replace(alive[int(i)], age=alive[int(i)].age + 1) for i in chosen))

    def learn(self, descriptors: Iterable[PeerDescriptor], *, teller: str, scope: Scope) -> None:
        """Learn announcements from another peer.

        An announcement is accepted only if it is signed by the peer that it names, has valid addresses, and is
        newer than that peer's earlier ones: only a peer itself can change its addresses, or return after not
        answering. Beyond the book's size, the peers that failed most are dropped first, then those with the
        oldest announcements, but never a bootstrap peer.

        Parameters
        ----------
        teller : str
            Proven id of the peer that sent them.
        scope : Scope
            Scope of the address from which it sent them.
        """
        for told in descriptors:
            try:
                self._learn_one(told, own_word=told.peer_id == teller, scope=scope)
            except GossipflError as error:
                logger.warning("skipped an entry of the view of %s: %s", teller[:16], error)
        self._shrink()

    def _learn_one(self, told: PeerDescriptor, *, own_word: bool, scope: Scope) -> None:
        own = self.own()
        if told.peer_id == own.peer_id:
            if told.sequence > own.sequence and is_signed(told):
                self._doubles.of_oneself(told, own)
                self.outdo(told.sequence)
            return
        known = self._known.get(told.peer_id)
        if known is not None and own_word:
            self._doubles.of_another(told, known.descriptor)
        newest = known.descriptor.sequence if known else self._gone.get(told.peer_id, -1)
        if told.sequence < newest or (known is None and told.sequence == newest and not own_word):
            return
        age = told.age if own_word else max(1, told.age)
        if known is not None and told.sequence == newest and told.signature == known.descriptor.signature:
            if own_word:  # the peer itself is alive: worth trying immediately
                known = replace(known, failures=0, retry_at=0.0)
            descriptor = replace(known.descriptor, age=min(age, known.descriptor.age))
            self._known[told.peer_id] = replace(
                known, descriptor=descriptor, narrowest=min(scope, known.narrowest)
            )
            return
        require_sound(told)
        news = KnownPeer(descriptor=replace(told, age=age), narrowest=scope)
        if known is not None:
            news = replace(news, configured=known.configured)
            if known.descriptor.addresses == told.addresses and not own_word:
                news = replace(news, failures=known.failures, retry_at=known.retry_at)
        self._gone.pop(told.peer_id, None)
        self._known[told.peer_id] = news

    def _shrink(self) -> None:
        most = self.settings.size + self.hearsay
        if len(self._known) <= most:
            return
        kept = sum(self.keeps(peer_id) for peer_id in self._known)
        surplus = len(self._known) - kept - most
        if surplus <= 0:
            return
        candidates = [
            peer for peer in self._known.values() if not (peer.is_bootstrap or self.keeps(peer.peer_id))
        ]
        order = self.generator.permutation(len(candidates))
        worst_first = sorted(
            (candidates[int(i)] for i in order), key=lambda peer: (-peer.failures, -peer.descriptor.age)
        )
        for peer in worst_first[:surplus]:
            self._forget(peer)

    def _forget(self, peer: KnownPeer) -> None:
        del self._known[peer.peer_id]
        if peer.failures:
            self._gone[peer.peer_id] = peer.descriptor.sequence

    def configure(self, peer_id: str, addresses: tuple[str, ...]) -> None:
        """Set the addresses that settings give for a peer; none if they no longer name it."""
        known = self._known.get(peer_id)
        if known is not None:
            self._known[peer_id] = replace(known, configured=addresses)
        elif addresses and peer_id != self.own().peer_id:
            descriptor = PeerDescriptor(peer_id=peer_id, addresses=addresses, age=1)
            self._known[peer_id] = KnownPeer(descriptor=descriptor, configured=addresses)

    def grow_older(self) -> None:
        """Increase the age of all announcements by one period."""
        for peer_id, known in self._known.items():
            older = replace(known.descriptor, age=known.descriptor.age + 1)
            self._known[peer_id] = replace(known, descriptor=older)

    def succeeded(self, peer_id: str) -> None:
        """Record that an exchange with a peer succeeded, so its entry is as good as new."""
        known = self._known.get(peer_id)
        if known is not None:
            fresh = replace(known.descriptor, age=0)
            self._known[peer_id] = replace(known, descriptor=fresh, failures=0, retry_at=0.0)

    def failed(self, peer_id: str, *, now: float) -> None:
        """Record that an exchange failed: the peer is not chosen for a while, doubled each time.

        After ``settings.failures`` in a row it is forgotten until it announces itself again, unless it is a
        bootstrap peer.
        """
        known = self._known.get(peer_id)
        if known is None:
            return
        failures = known.failures + 1
        if failures >= self.settings.failures and not known.is_bootstrap:
            self._forget(known)
            return
        longest = _LONGEST_BOOTSTRAP_RETRY_SECONDS if known.is_bootstrap else _LONGEST_RETRY_SECONDS
        pause = min(longest, _FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16))
        self._known[peer_id] = replace(known, failures=failures, retry_at=now + pause)

    def forget(self, peer_id: str) -> None:
        """Forget a peer until it announces itself again, unless it is a bootstrap peer."""
        known = self._known.get(peer_id)
        if known is not None and not known.is_bootstrap:
            self._forget(known)

    def left(self, peer_id: str, *, now: float) -> None:
        """Forget a peer that has left until it announces itself anew; a bootstrap peer is tried again later."""
        known = self._known.get(peer_id)
        if known is not None and known.is_bootstrap:
            self._known[peer_id] = replace(known, retry_at=now + _LONGEST_BOOTSTRAP_RETRY_SECONDS)
        elif known is not None:
            del self._known[peer_id]
            self._gone[peer_id] = known.descriptor.sequence

    def to_values(self) -> list[dict[str, Any]]:
        """Return the book as plain values, for a checkpoint."""
        return [descriptor_values(peer) for peer in self._known.values() if peer.descriptor.signature]

    def restore(self, values: Iterable[dict[str, Any]]) -> None:
        """Restore the book of a checkpoint, as hearsay because time has passed. Invalid entries are skipped."""
        for each in values:
            try:
                descriptor, scope = descriptor_from(each)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                logger.warning("skipped an invalid entry of the checkpoint's view: %s", repr(error))
                continue
            self.learn([descriptor], teller="the checkpoint", scope=scope)
