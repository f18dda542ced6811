"""Address book: what a peer knows of others from their own signed announcements, bounded and healing.

It is plain state, changed by what happens, and does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gossipfl.errors import GossipflError, IdentityInUseTwice, InvalidAddress
from gossipfl.network import Hearsay, Scope, limited_logger, parse_address
from gossipfl.peer.gossip.doubles import Doubles
from gossipfl.recent import RecentMap
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor, is_signed

__all__ = ["AddressBook", "KnownPeer", "descriptor_from", "descriptor_values"]

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0
_LONGEST_BOOTSTRAP_RETRY_SECONDS = 4.0
_MOST_GONE = 1024

logger = limited_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPeer:
    """Another peer as this one knows it.

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
    narrowest : Scope
        How far an address that others told must reach to be dialled: as far as whoever told it.
    """

    descriptor: PeerDescriptor
    failures: int = 0
    retry_at: float = 0.0
    configured: tuple[str, ...] = ()
    narrowest: Scope = Scope.GLOBAL

    @property
    def peer_id(self) -> str:
        """Its identity."""
        return self.descriptor.peer_id

    @property
    def is_bootstrap(self) -> bool:
        """Whether the settings name it."""
        return bool(self.configured)

    @property
    def addresses(self) -> tuple[str | Hearsay, ...]:
        """Where to try it: what was heard last, then what was configured, which no hearsay replaces."""
        heard = (
            Hearsay(address, self.narrowest)
            for address in self.descriptor.addresses
            if address not in self.configured and parse_address(address).scope >= self.narrowest
        )
        return (*heard, *self.configured)


class AddressBook:
    """Announcements of a bounded number of peers: what is not reached, and what is old, makes room.

    Parameters
    ----------
    own : callable
        Returns this peer's own descriptor.
    settings : ViewSettings
    generator : numpy.random.Generator
        All random choices come from it.
    bootstrap : iterable of PeerDescriptor
        Peers to begin with.
    keeps : callable, optional
        Says of a peer id whether its entry stays; such entries do not count towards ``settings.size``.
    outdo : callable, optional
        Is handed a sequence of this peer's own that others know and that is ahead of its announcement's.
    doubled : callable, optional
        Takes an error where an identity, this peer's or another's, is in use twice.
    """

    def __init__(
        self,
        *,
        own: Callable[[], PeerDescriptor],
        settings: ViewSettings,
        generator: np.random.Generator,
        bootstrap: Iterable[PeerDescriptor] = (),
        keeps: Callable[[str], bool] = lambda _: False,
        outdo: Callable[[int], None] = lambda _: None,
        doubled: Callable[[IdentityInUseTwice], None] = lambda _: None,
    ) -> None:
        self._own = own
        self._settings = settings
        self._generator = generator
        self._keeps = keeps
        self._outdo = outdo
        self._doubles = Doubles(doubled)
        # Announcements of peers that were forgotten because they did not answer, by their sequence.
        self._gone: RecentMap[str, int] = RecentMap(_MOST_GONE)
        self._known: dict[str, KnownPeer] = {
            each.peer_id: KnownPeer(descriptor=each, configured=each.addresses)
            for each in bootstrap
            if each.peer_id != own().peer_id
        }

    def __len__(self) -> int:
        return len(self._known)

    @property
    def known(self) -> tuple[KnownPeer, ...]:
        """Everybody in the book."""
        return tuple(self._known.values())

    def get(self, peer_id: str) -> KnownPeer | None:
        """What is known of a peer."""
        return self._known.get(peer_id)

    def choose(self, *, now: float, exclude: Collection[str] = ()) -> KnownPeer | None:
        """A random neighbour that is not thought to be down, or None."""
        candidates = [
            peer for peer in self._known.values() if peer.retry_at <= now and peer.peer_id not in exclude
        ]
        return candidates[int(self._generator.integers(len(candidates)))] if candidates else None

    def tell(self) -> tuple[PeerDescriptor, ...]:
        """What to send in an exchange of views: oneself, and random others that have not failed of late."""
        alive = [
            peer.descriptor
            for peer in self._known.values()
            if not peer.failures and peer.descriptor.signature
        ]
        count = min(len(alive), self._settings.exchanged - 1)
        chosen = self._generator.choice(len(alive), size=count, replace=False) if count else ()
        return (self._own(), *(replace(alive[int(i)], age=alive[int(i)].age + 1) for i in chosen))

    def learn(self, descriptors: Iterable[PeerDescriptor], *, teller: str, scope: Scope) -> None:
        """Take in what another peer told.

        An announcement is taken only if the peer it names has signed it, with addresses that can be parsed,
        and replaces only earlier ones of that peer: nobody but a peer itself moves it, or brings it back once it
        did not answer. Beyond the book's size, peers that failed most go first, then those whose news is oldest,
        never a bootstrap peer.

        Parameters
        ----------
        descriptors : iterable of PeerDescriptor
        teller : str
            Proven peer id of whoever told.
        scope : Scope
            How far the address reaches from which it told.
        """
        for told in descriptors:
            try:
                self._learn_one(told, own_word=told.peer_id == teller, scope=scope)
            except GossipflError as error:
                logger.warning("an entry of a view that %s told is skipped: %s", teller[:16], error)
        self._shrink()

    def _learn_one(self, told: PeerDescriptor, *, own_word: bool, scope: Scope) -> None:
        own = self._own()
        if told.peer_id == own.peer_id:
            if told.sequence > own.sequence and is_signed(told):
                self._doubles.of_oneself(told, own)
                self._outdo(told.sequence)
            return
        known = self._known.get(told.peer_id)
        if known is not None and own_word:
            self._doubles.of_another(told, known.descriptor)
        newest = known.descriptor.sequence if known else self._gone.get(told.peer_id, -1)
        if told.sequence < newest or (known is None and told.sequence == newest and not own_word):
            return
        age = told.age if own_word else max(1, told.age)
        if known is not None and told.sequence == newest and told.signature == known.descriptor.signature:
            if own_word:  # it speaks for itself: worth a try at once
                known = replace(known, failures=0, retry_at=0.0)
            descriptor = replace(known.descriptor, age=min(age, known.descriptor.age))
            self._known[told.peer_id] = replace(
                known, descriptor=descriptor, narrowest=min(scope, known.narrowest)
            )
            return
        if not is_signed(told):
            raise InvalidAddress("the announcement is not signed by the peer it names", got=told.peer_id)
        for address in told.addresses:
            parse_address(address, smallest_port=1)
        news = KnownPeer(descriptor=replace(told, age=age), narrowest=scope)
        if known is not None:
            news = replace(news, configured=known.configured)
            if known.descriptor.addresses == told.addresses and not own_word:
                news = replace(news, failures=known.failures, retry_at=known.retry_at)
        self._gone.pop(told.peer_id, None)
        self._known[told.peer_id] = news

    def _shrink(self) -> None:
        if len(self._known) <= self._settings.size:
            return
        kept = sum(self._keeps(peer_id) for peer_id in self._known)
        surplus = len(self._known) - kept - self._settings.size
        if surplus <= 0:
            return
        candidates = [
            peer for peer in self._known.values() if not (peer.is_bootstrap or self._keeps(peer.peer_id))
        ]
        order = self._generator.permutation(len(candidates))
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
        """Take in where settings say that a peer is; none if they name it no longer."""
        known = self._known.get(peer_id)
        if known is not None:
            self._known[peer_id] = replace(known, configured=addresses)
        elif addresses and peer_id != self._own().peer_id:
            descriptor = PeerDescriptor(peer_id=peer_id, addresses=addresses, age=1)
            self._known[peer_id] = KnownPeer(descriptor=descriptor, configured=addresses)

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

        After ``settings.failures`` in a row it is forgotten, unless it is a bootstrap peer, until it announces
        itself anew.
        """
        known = self._known.get(peer_id)
        if known is None:
            return
        failures = known.failures + 1
        if failures >= self._settings.failures and not known.is_bootstrap:
            self._forget(known)
            return
        longest = _LONGEST_BOOTSTRAP_RETRY_SECONDS if known.is_bootstrap else _LONGEST_RETRY_SECONDS
        pause = min(longest, _FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16))
        self._known[peer_id] = replace(known, failures=failures, retry_at=now + pause)

    def forget(self, peer_id: str) -> None:
        """Forget a peer until it announces itself anew; where settings name it, only what it said."""
        known = self._known.get(peer_id)
        if known is not None and not known.is_bootstrap:
            self._forget(known)

    def to_values(self) -> list[dict[str, Any]]:
        """The book as plain values, for a checkpoint."""
        return [descriptor_values(peer) for peer in self._known.values() if peer.descriptor.signature]

    def restore(self, values: Iterable[dict[str, Any]]) -> None:
        """Take in the book of a checkpoint; as hearsay, because time has passed. Bad entries are skipped."""
        for each in values:
            try:
                descriptor, scope = descriptor_from(each)
            except (KeyError, TypeError, ValueError) as error:
                logger.warning("an entry of the checkpoint's view is skipped: %s", repr(error))
                continue
            self.learn([descriptor], teller="the checkpoint", scope=scope)


def descriptor_values(peer: KnownPeer) -> dict[str, Any]:
    """What is known of a peer, as plain values."""
    return {
        "peer_id": peer.peer_id,
        "addresses": list(peer.descriptor.addresses),
        "age": peer.descriptor.age,
        "sequence": peer.descriptor.sequence,
        "signature": peer.descriptor.signature.hex(),
        "scope": int(peer.narrowest),
    }


def descriptor_from(values: Mapping[str, Any]) -> tuple[PeerDescriptor, Scope]:
    """What `descriptor_values` were made of; nothing of it is checked but its types.

    Raises
    ------
    KeyError, TypeError, ValueError
        If one is missing, or of another type.
    """
    descriptor = PeerDescriptor(
        peer_id=str(values["peer_id"]),
        addresses=tuple(map(str, values["addresses"])),
        age=int(values["age"]),
        sequence=int(values["sequence"]),
        signature=bytes.fromhex(values["signature"]),
    )
    return descriptor, Scope(values["scope"])
