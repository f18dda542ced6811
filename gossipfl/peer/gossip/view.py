"""What a peer knows of the others: a small random view, kept fresh by exchanging parts of it.

The view is plain state, changed by what happens and asked by the gossip loop; it does no I/O. A maintained
overlay (Cyclon, HyParView) fits behind the same protocol, `PeerSampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gossipfl.errors import InvalidAddress
from gossipfl.network import parse_address
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor

__all__ = ["KnownPeer", "PeerSampling", "RandomView"]

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0
_LONGEST_BOOTSTRAP_RETRY_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPeer:
    """Another peer, as far as this one knows.

    Parameters
    ----------
    descriptor : PeerDescriptor
        Who and where it is, and how old that news is.
    failures : int
        Exchanges with it that failed in a row.
    retry_at : float
        Not to be chosen before this time, in seconds of the event loop's clock.
    configured : tuple of str
        Where the settings say it is, if they name it: such a bootstrap peer is never forgotten.
    """

    descriptor: PeerDescriptor
    failures: int = 0
    retry_at: float = 0.0
    configured: tuple[str, ...] = ()

    @property
    def peer_id(self) -> str:
        """Its identity."""
        return self.descriptor.peer_id

    @property
    def is_bootstrap(self) -> bool:
        """Whether the settings name it."""
        return bool(self.configured)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to try it: what was heard last, then what was configured, which no hearsay replaces."""
        heard = self.descriptor.addresses
        return (*heard, *(address for address in self.configured if address not in heard))


class PeerSampling(Protocol):
    """Who a peer may gossip with."""

    def choose(self, *, now: float, exclude: Collection[str] = ()) -> KnownPeer | None:
        """A random neighbour that is not thought to be down, or None."""

    def tell(self) -> tuple[PeerDescriptor, ...]:
        """What to send in an exchange of views, oneself first."""

    def learn(self, descriptors: Iterable[PeerDescriptor], *, teller: str) -> None:
        """Take in what another peer, whose identity is proven, told."""

    def succeeded(self, peer_id: str) -> None:
        """Note that an exchange with a peer succeeded."""

    def failed(self, peer_id: str, *, now: float) -> None:
        """Note that an exchange with a peer failed."""


class RandomView:
    """A bounded random view with healing: what is not reached, and what is old, makes room.

    Parameters
    ----------
    own : callable
        Returns this peer's own descriptor.
    settings : ViewSettings
    generator : numpy.random.Generator
        All random choices come from it.
    bootstrap : iterable of PeerDescriptor
        Peers to begin with.
    """

    def __init__(
        self,
        *,
        own: Callable[[], PeerDescriptor],
        settings: ViewSettings,
        generator: np.random.Generator,
        bootstrap: Iterable[PeerDescriptor] = (),
    ) -> None:
        self._own = own
        self._settings = settings
        self._generator = generator
        self._known: dict[str, KnownPeer] = {
            each.peer_id: KnownPeer(descriptor=each, configured=each.addresses)
            for each in bootstrap
            if each.peer_id != own().peer_id
        }

    def __len__(self) -> int:
        return len(self._known)

    @property
    def known(self) -> tuple[KnownPeer, ...]:
        """Everybody in the view."""
        return tuple(self._known.values())

    def choose(self, *, now: float, exclude: Collection[str] = ()) -> KnownPeer | None:
        """A random neighbour that is not thought to be down, or None."""
        candidates = [
            peer for peer in self._known.values() if peer.retry_at <= now and peer.peer_id not in exclude
        ]
        return candidates[int(self._generator.integers(len(candidates)))] if candidates else None

    def tell(self) -> tuple[PeerDescriptor, ...]:
        """What to send in an exchange of views: oneself, and random others that have not failed of late."""
        alive = [peer.descriptor for peer in self._known.values() if not peer.failures]
        count = min(len(alive), self._settings.exchanged - 1)
        chosen = self._generator.choice(len(alive), size=count, replace=False) if count else ()
        return (self._own(), *(replace(alive[int(i)], age=alive[int(i)].age + 1) for i in chosen))

    def learn(self, descriptors: Iterable[PeerDescriptor], *, teller: str) -> None:
        """Take in what another peer told.

        News about a known peer replaces older news; malformed addresses are dropped. Nobody but a peer itself
        can say something of age 0 about it, so hearsay never moves a peer that has just answered. Beyond the
        view's size, peers that failed most go first, then those whose news is oldest, never a bootstrap peer.

        Parameters
        ----------
        descriptors : iterable of PeerDescriptor
        teller : str
            Proven peer id of whoever told.
        """
        for told in descriptors:
            descriptor = told if told.peer_id == teller else replace(told, age=max(1, told.age))
            addresses = tuple(filter(_is_address, descriptor.addresses))
            if descriptor.peer_id == self._own().peer_id or not addresses:
                continue
            news = replace(descriptor, addresses=addresses)
            known = self._known.get(news.peer_id)
            if known is None:
                self._known[news.peer_id] = KnownPeer(descriptor=news)
            elif news.age <= known.descriptor.age:
                moved = addresses != known.descriptor.addresses
                if moved or news.age == 0:  # it moved, or speaks for itself: worth a try at once
                    known = replace(known, failures=0, retry_at=0.0)
                self._known[news.peer_id] = replace(known, descriptor=news)
        self._shrink()

    def _shrink(self) -> None:
        surplus = len(self._known) - self._settings.size
        if surplus <= 0:
            return
        candidates = [peer for peer in self._known.values() if not peer.is_bootstrap]
        order = self._generator.permutation(len(candidates))
        worst_first = sorted(
            (candidates[int(i)] for i in order), key=lambda peer: (-peer.failures, -peer.descriptor.age)
        )
        for peer in worst_first[:surplus]:
            del self._known[peer.peer_id]

    def grow_older(self) -> None:
        """Note that one more period has passed since all news came."""
        for peer_id, known in self._known.items():
            older = replace(known.descriptor, age=known.descriptor.age + 1)
            self._known[peer_id] = replace(known, descriptor=older)

    def succeeded(self, peer_id: str) -> None:
        """Note that an exchange with a peer succeeded: what is known of it is as good as its own word now."""
        known = self._known.get(peer_id)
        if known is not None:
            fresh = replace(known.descriptor, age=0)
            self._known[peer_id] = replace(known, descriptor=fresh, failures=0, retry_at=0.0)

    def failed(self, peer_id: str, *, now: float) -> None:
        """Note that an exchange failed: the peer is left alone for a while, twice as long each time.

        After ``settings.failures`` in a row it is forgotten, unless it is a bootstrap peer; whoever still
        knows it may tell of it again.
        """
        known = self._known.get(peer_id)
        if known is None:
            return
        failures = known.failures + 1
        if failures >= self._settings.failures and not known.is_bootstrap:
            del self._known[peer_id]
            return
        longest = _LONGEST_BOOTSTRAP_RETRY_SECONDS if known.is_bootstrap else _LONGEST_RETRY_SECONDS
        pause = min(longest, _FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16))
        self._known[peer_id] = replace(known, failures=failures, retry_at=now + pause)

    def to_values(self) -> list[dict[str, Any]]:
        """The view as plain values, for a checkpoint."""
        return [
            {
                "peer_id": peer.peer_id,
                "addresses": list(peer.descriptor.addresses),
                "age": peer.descriptor.age,
            }
            for peer in self._known.values()
        ]

    def restore(self, values: Iterable[dict[str, Any]]) -> None:
        """Take in the view of a checkpoint; as hearsay, because time has passed."""
        self.learn(
            (
                PeerDescriptor(
                    peer_id=each["peer_id"], addresses=tuple(each["addresses"]), age=int(each["age"])
                )
                for each in values
            ),
            teller=self._own().peer_id,
        )


def _is_address(text: str) -> bool:
    try:
        return parse_address(text).port != 0
    except InvalidAddress:
        return False
