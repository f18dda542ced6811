"""A peer's partial view of the network: its sampling protocol, and the addresses of sampled peers.

It does no I/O: `Meetings` carries out what it requests. Only peers that have answered, or introduced themselves
over an authenticated connection, become neighbours; names learned from others are asked first.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import numpy as np

from gossipfl.errors import IdentityInUseTwice
from gossipfl.network import Scope, prefix_of
from gossipfl.peer.gossip.acquaintances import Acquaintances
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.known_peer import KnownPeer, descriptor_values
from gossipfl.recent import RecentMap
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor
from topology.sampling import BrahmsSettings, brahms
from topology.sampling.brahms import BrahmsState, Reply, Request

__all__ = ["SampledView", "sampling_settings"]

_MOST_UNANSWERED: Final = 4096
_FIRST_SILENCE_SECONDS: Final = 10.0
_LONGEST_SILENCE_SECONDS: Final = 3600.0
_FEW = 2

State: TypeAlias = BrahmsState[str]


def sampling_settings(settings: ViewSettings) -> BrahmsSettings:
    """Return the sampling protocol's settings: half of the peers remembered are the view, half are samples."""
    half = max(1, settings.size // 2)
    usual = BrahmsSettings()
    return replace(
        usual,
        view_size=half,
        samples=max(1, settings.size - half),
        partners=min(usual.partners, half),
        told=min(settings.exchanged, settings.size),
        history=min(usual.history, half),
    )


class SampledView:
    """The peers to gossip with.

    Parameters
    ----------
    own : callable
        Returns this peer's own descriptor.
    generator : numpy.random.Generator
        For choosing neighbours. Unpredictable choices use the operating system's generator.
    bootstrap : iterable of PeerDescriptor
        Peers that settings name.
    reached_at : callable, optional
        Returns the IP address at which a peer is connected, or "".
    outdo : callable, optional
        Called with a sequence number, known to others, that is ahead of this peer's own announcement.
    doubled : callable, optional
        Called with an error when an identity, this peer's or another's, is in use twice.

    Attributes
    ----------
    book : AddressBook
        Peers that are known.
    """

    def __init__(
        self,
        *,
        own: Callable[[], PeerDescriptor],
        settings: ViewSettings,
        generator: np.random.Generator,
        acquaintances: Acquaintances,
        bootstrap: Iterable[PeerDescriptor] = (),
        reached_at: Callable[[str], str] = lambda _: "",
        outdo: Callable[[int], None] = lambda _: None,
        doubled: Callable[[IdentityInUseTwice], None] = lambda _: None,
    ) -> None:
        self._own = own
        self._me = own().peer_id
        self._generator = generator
        self._reached_at = reached_at
        self._unforeseen = np.random.default_rng(secrets.randbits(128))
        self._secret = secrets.token_bytes(16)
        self._networks: dict[str, str] = {}
        self._former: frozenset[str] = frozenset()  # neighbours of the last start
        self._silent: RecentMap[str, tuple[int, float]] = RecentMap(_MOST_UNANSWERED)
        self.acquaintances = acquaintances
        self._failures = settings.failures
        self._state: State = brahms.start(
            self._me,
            (),
            sampling_settings(settings),
            self._draw,
            digest=self._digest,
            network=lambda peer_id: self._digest(self._network(peer_id)),
        )
        self.book = AddressBook(
            own=own,
            settings=settings,
            generator=generator,
            keeps=self._is_met,
            hearsay=self._state.settings.requests * self._state.settings.told,
            outdo=outdo,
            doubled=doubled,
        )
        self.configure({each.peer_id: each.addresses for each in bootstrap})

    def __len__(self) -> int:
        return len(self.neighbours)

    @property
    def neighbours(self) -> frozenset[str]:
        """Peers that have answered, and are in the view or among the samples."""
        return frozenset(self._state.neighbours) | frozenset(self._state.view)

    @property
    def known(self) -> tuple[KnownPeer, ...]:
        """Neighbours with their addresses."""
        return tuple(known for each in self.neighbours if (known := self.book.get(each)))

    @property
    def is_alone(self) -> bool:
        """Whether so few neighbours answer that every known peer should be asked."""
        return sum(not peer.failures for peer in self.known) < _FEW

    @property
    def wants_to_tick(self) -> bool:
        """Whether there is room in the view, and there are candidates for it."""
        state = self._state
        return state.news and len(state.view) < state.settings.view_size

    def choose(self, *, now: float, exclude: Collection[str] = ()) -> KnownPeer | None:
        """Return a random neighbour that is not known to be down, or None.

        While there is none, it is a neighbour of the last start, or a peer that settings name.
        """
        places = [peer for each in self._state.neighbours if (peer := self.book.get(each))]
        if not places:
            places = [peer for peer in self.book.known if peer.is_bootstrap or peer.peer_id in self._former]
        candidates = [peer for peer in places if peer.retry_at <= now and peer.peer_id not in exclude]
        return candidates[int(self._generator.integers(len(candidates)))] if candidates else None

    def own_word(self) -> tuple[PeerDescriptor, ...]:
        """Return the contents of a request: only this peer's own announcement."""
        return (self._own(),)

    def asked_by(
        self, peer_id: str, descriptors: Sequence[PeerDescriptor], *, scope: Scope
    ) -> tuple[PeerDescriptor, ...]:
        """Handle a peer's request, of which only its own announcement is used; return the answer.

        Parameters
        ----------
        peer_id : str
            Proven.
        scope : Scope
            Scope of the address from which it asked.
        """
        said = [each for each in descriptors if each.peer_id == peer_id][:1]
        self._learn_own_word(peer_id, descriptors, scope)
        step = brahms.receive(self._state, peer_id, Request(), self._draw)
        if self.book.get(peer_id) is not None:
            self._state = step.state
        names = [each for envelope in step.envelopes for each in getattr(envelope.message, "peers", ())]
        told = (self.book.get(each) for each in names)
        sound = [each.descriptor for each in told if each and each.descriptor.signature and not each.failures]
        asker = self.book.get(peer_id)
        if (
            asker is not None
            and asker.descriptor.signature
            and not any(each == replace(asker.descriptor, age=each.age) for each in said)
        ):
            sound.insert(0, asker.descriptor)  # newer than its own: its clock went back, or it was copied
        return (self._own(), *(replace(each, age=each.age + 1) for each in sound[: self._most_told - 1]))

    def answered_by(
        self, peer_id: str, descriptors: Iterable[PeerDescriptor], *, scope: Scope, now: float
    ) -> None:
        """Handle a peer's answer; names in it count only if they were requested.

        Parameters
        ----------
        peer_id : str
            Proven.
        scope : Scope
            Scope of the address at which it answered.
        now : float
            Seconds of the event loop's clock.
        """
        told = list(descriptors)[: self._most_told]
        names: list[str] = []
        if peer_id in self._state.asked:
            others = [each for each in told if each.peer_id != peer_id and not self._is_silent(each, now)]
            self.book.learn(others, teller=peer_id, scope=scope)
            names = [each.peer_id for each in others if self.book.get(each.peer_id)]
        self._learn_own_word(peer_id, told, scope)
        self._state = brahms.receive(self._state, peer_id, Reply(tuple(names)), self._draw).state
        self.succeeded(peer_id)

    def tick(self) -> tuple[KnownPeer, ...]:
        """Begin a period of the sampling protocol; return the peers to ask."""
        self.book.grow_older()
        step = brahms.tick(self._state, self._draw)
        self._state = step.state
        return tuple(peer for each in step.envelopes if (peer := self.book.get(each.to)))

    def due(self, under_way: Collection[str]) -> KnownPeer | None:
        """Return an acquaintance that is not a neighbour and is due to be tried, if there is one."""
        return self.acquaintances.due(neighbours=self.neighbours, under_way=under_way, alone=self.is_alone)

    def succeeded(self, peer_id: str) -> None:
        """Record that an exchange with a peer succeeded."""
        self.book.succeeded(peer_id)
        self._silent.pop(peer_id, None)
        known = self.book.get(peer_id)
        if known is None:
            return
        self._note_network(peer_id)
        self.acquaintances.met(known, network=self._networks.get(peer_id, ""))
        self._state = brahms.prove(self._state, peer_id)

    def failed(self, peer_id: str, *, now: float) -> None:
        """Record that an exchange with a peer failed.

        A neighbour is not asked for a while, doubled each time, and after ``settings.failures`` in a row it
        becomes a lost acquaintance. A name that does not answer is forgotten immediately, and ignored for a
        while, doubled each time.
        """
        known = self.book.get(peer_id)
        if peer_id in self.neighbours and known is not None:
            self.book.failed(peer_id, now=now)
            if known.failures + 1 < self._failures:
                return
        elif known is not None and known.is_bootstrap:
            self.book.failed(peer_id, now=now)
        else:
            self.book.forget(peer_id)
        self._state = brahms.unreachable(self._state, peer_id, self._draw).state
        self._networks.pop(peer_id, None)
        self._note_silence(peer_id, now)
        self.acquaintances.failed(peer_id, alone=self.is_alone)

    def left(self, peer_id: str, *, now: float) -> None:
        """Record that a peer has left: it is no neighbour until it announces itself again."""
        self.book.left(peer_id, now=now)
        self._state = brahms.unreachable(self._state, peer_id, self._draw).state
        self._networks.pop(peer_id, None)
        known = self.book.get(peer_id)
        if known is not None:  # settings name it, so it is tried again, later
            self.acquaintances.failed(peer_id, alone=self.is_alone)

    def configure(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """Set the peers that settings name, with their addresses; those no longer named become ordinary peers."""
        before = {peer.peer_id for peer in self.book.known if peer.is_bootstrap}
        for peer_id in {*before, *addresses} - {self._me}:
            self.book.configure(peer_id, addresses.get(peer_id, ()))
            if (known := self.book.get(peer_id)) is not None:
                self.acquaintances.configure(known)

    def to_values(self) -> list[dict[str, Any]]:
        """Return the neighbours as plain values, for a checkpoint."""
        return [descriptor_values(peer) for peer in self.known if peer.descriptor.signature]

    def restore(self, values: Iterable[dict[str, Any]]) -> None:
        """Restore the neighbours of a checkpoint, as names to be asked. Invalid entries are skipped."""
        self.book.restore(values)
        names = tuple(peer.peer_id for peer in self.book.known if not peer.is_bootstrap)
        self._former = frozenset(names)
        self._state = brahms.remind(self._state, names)

    @property
    def _most_told(self) -> int:
        return self._state.settings.told

    def _is_met(self, peer_id: str) -> bool:
        state = self._state
        return any(peer_id in each for each in (state.view, state.samples, state.proved, state.pushed))

    def _draw(self, count: int) -> list[float]:
        return [float(each) for each in self._unforeseen.random(count)]

    def _digest(self, name: str) -> int:
        return int.from_bytes(blake2b(name.encode(), key=self._secret, digest_size=8).digest(), "little")

    def _network(self, peer_id: str) -> str:
        """Return the network that a peer was last connected from, or that it announces."""
        if peer_id in self._networks:
            return self._networks[peer_id]
        known = self.book.get(peer_id)
        return known.network if known else ""

    def _note_network(self, peer_id: str) -> None:
        host = self._reached_at(peer_id)
        if host and peer_id not in self._networks:
            self._networks[peer_id] = prefix_of(host)
        if len(self._networks) > 8 * len(self._state.samples):
            kept = self.neighbours
            self._networks = {each: network for each, network in self._networks.items() if each in kept}

    def _learn_own_word(self, peer_id: str, descriptors: Iterable[PeerDescriptor], scope: Scope) -> None:
        """Learn a peer's own announcement, and the one that it has of this peer."""
        speakers = {peer_id, self._me}
        own = [each for each in descriptors if each.peer_id in speakers]
        self.book.learn(own[:2], teller=peer_id, scope=scope)
        self._note_network(peer_id)

    def _is_silent(self, told: PeerDescriptor, now: float) -> bool:
        """Return whether a name did not answer recently."""
        silent = self._silent.get(told.peer_id)
        return silent is not None and silent[1] > now and told.peer_id not in self.neighbours

    def _note_silence(self, peer_id: str, now: float) -> None:
        failures = self._silent.get(peer_id, (0, 0.0))[0]
        pause = min(_LONGEST_SILENCE_SECONDS, _FIRST_SILENCE_SECONDS * 2 ** min(failures, 16))
        self._silent[peer_id] = (failures + 1, now + pause)
