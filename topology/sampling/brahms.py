"""Brahms: samples of the network that hold although some of its members push themselves.

After Bortnikov, Gurevich, Keidar, Kliot and Shraer, "Brahms: Byzantine resilient random membership sampling",
Computer Networks 53(13), 2009, as a pure state machine:

* *Samplers* (section 3.1): each keeps, of all peers that it was ever shown, the one that ranks lowest under a key
  of its own. How often a peer is shown does not matter.
* *Bounds*: in a period a peer lets in at most so many that pushed themselves, and so many of those it was told of
  by whom it had asked. What nobody asked for is not read. While more strangers push themselves than an honest
  network would send, none of them is let in, and nobody is exchanged.
* *History* (γ in the paper): part of the view comes from the samplers, and heals it.

The paper assumes that members cannot push themselves as often as they like. Here they can, and a second defence
takes that assumption's place, after Anceaume, Busnel & Sericola, "Uniform node sampling service robust against
collusions of malicious nodes", DSN 2013, and the history of Belal et al., "GRANITE", 2025: a peer *counts* how
often each name was told it, and how often each peer pushed itself (`topology.sampling.tally`), and lets in those
with the lowest counts. Whoever is promoted more than others thereby comes last. Counts say nothing at first, so
nobody is exchanged before names have come three times on average.

Four more things differ from the paper. A name counts only once its bearer has answered: names that others tell are
asked first, a bounded number a period. What such a name tells is read too, so that knowledge travels two hops a
period. What is let in is fair to its tellers and to the networks it comes from: every other sampler ranks networks
before peers. And entries that nothing replaces stay in the view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias

import numpy as np

from topology.sampling.protocol import Draw, Envelope, Peer, Step, without
from topology.sampling.ranks import key_of, rank, salted
from topology.sampling.settings import BrahmsSettings
from topology.sampling.tally import FULL, as_tally, counted, distinct, is_repeated, place, sums

__all__ = [
    "BrahmsMessage",
    "BrahmsState",
    "Reply",
    "Request",
    "prove",
    "receive",
    "remind",
    "start",
    "tick",
    "unreachable",
]

PUSHED, RECALLED, KEPT, PARTNERS, HEARD, TOLD, CHECKED, COUNTED = range(8)
"""Salts: each random order of a period has one, and the places of the tallies."""


@dataclass(frozen=True, slots=True)
class Request:
    """A push of the sender, and a question for peers that the receiver knows."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[Peer]):
    """Some of the peers that the replier knows."""

    peers: tuple[Peer, ...]


BrahmsMessage: TypeAlias = Request | Reply[Peer]


def _in_no_network(_: object) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class BrahmsState(Generic[Peer]):
    """One peer's knowledge of the network.

    Invariants: view and samples hold only peers that have answered, or pushed themselves; at most
    ``settings.view_size`` in the view, none twice, and never oneself.

    Attributes
    ----------
    me : Peer
        This peer.
    settings : BrahmsSettings
    keys : tuple of int
        One for each sampler; secret.
    period : int
        Key of the random orders of this period; secret.
    periods : int
        Number of the next tick, from 1.
    view : tuple of Peer
        Whom to ask, and of whom to tell.
    samples : tuple of Peer or None
        What each sampler holds.
    pushed : tuple of Peer
        Who pushed itself in this period, as far as it will be let in.
    heard : tuple of tuple of Peer
        Names from replies of this period, those of each teller together.
    asked : tuple of Peer
        Peers whose reply is due.
    probed : tuple of Peer
        Peers of whom a sign of life is due.
    proved : tuple of Peer
        Those of them that gave it.
    told : bytes
        Tally of the names heard before this period.
    visits, arrived : bytes
        Tally of the peers that pushed themselves before this period, and of all until now.
    digest : callable
        A number from 0 to 2⁶⁴ − 1 for a peer; by default the peer itself.
    network : callable
        Such a number for the network a peer is in; by default all are in one.
    """

    me: Peer
    settings: BrahmsSettings
    keys: tuple[int, ...]
    period: int
    periods: int = 1
    view: tuple[Peer, ...] = ()
    samples: tuple[Peer | None, ...] = ()
    pushed: tuple[Peer, ...] = ()
    heard: tuple[tuple[Peer, ...], ...] = ()
    asked: tuple[Peer, ...] = ()
    probed: tuple[Peer, ...] = ()
    proved: tuple[Peer, ...] = ()
    told: bytes = b""
    visits: bytes = b""
    arrived: bytes = b""
    digest: Callable[[Peer], int] = field(default=int, compare=False)  # type: ignore[assignment]
    network: Callable[[Peer], int] = field(default=_in_no_network, compare=False)

    @property
    def neighbours(self) -> tuple[Peer, ...]:
        """Peers to gossip with, each as often as it should be chosen.

        Everybody known where the view has room: the network is then smaller than it. Else the samples.
        """
        held = tuple(peer for peer in self.samples if peer is not None)
        if len(self.view) < self.settings.view_size or not held:
            return tuple(dict.fromkeys((*self.view, *held)))
        return held

    @property
    def news(self) -> bool:
        """Whether the next tick has peers to let in, or names to ask."""
        return bool(self.pushed or self.proved or any(self.heard))


BrahmsStep: TypeAlias = Step[BrahmsState[Peer], Peer, BrahmsMessage[Peer]]


def start(
    me: Peer,
    contacts: Iterable[Peer],
    settings: BrahmsSettings,
    draw: Draw,
    *,
    digest: Callable[[Peer], int] = int,  # type: ignore[assignment]
    network: Callable[[Peer], int] = _in_no_network,
) -> BrahmsState[Peer]:
    """State of a peer that has met `contacts`; those beyond the view size are left out.

    `draw` is asked once, for 1 + samples draws: the keys.
    """
    own, *keys = (key_of(each) for each in draw(1 + settings.samples))
    known = [peer for peer in dict.fromkeys(contacts) if peer != me]
    return BrahmsState(
        me,
        settings,
        keys=tuple(keys),
        period=own,
        view=tuple(known[: settings.view_size]),
        samples=(None,) * settings.samples,
        told=bytes(settings.counters),
        visits=bytes(settings.counters),
        arrived=bytes(settings.counters),
        digest=digest,
        network=network,
    )


def tick(state: BrahmsState[Peer], draw: Draw) -> BrahmsStep[Peer]:
    """Let in those that the last period brought, and ask partners, names that were heard, and one sample.

    Called once a period. `draw` is asked once, for one draw: the key of the period's random orders.
    """
    settings = state.settings
    told, arrived = as_tally(state.told), as_tally(state.arrived)
    total, taken = sums(told), distinct(told)
    strangers = np.count_nonzero((as_tally(state.visits) == 0) & (arrived > 0))
    flooded = strangers > settings.requests
    pushed = [] if flooded else _least_often_first(state, state.pushed)
    kept = _ordered(state, state.view, KEPT)
    pool, shown = [*kept, *state.proved, *pushed], []
    tells_apart = bool(is_repeated(total, taken))
    if tells_apart and not flooded:
        shown = [*pushed, *state.proved]
        if state.periods % settings.renewal == 0:
            sampled = {peer for peer in state.samples if peer is not None}
            recalled = _ordered(state, sampled, RECALLED)[: settings.history]
            pool = [*pushed, *state.proved[: settings.pulls], *recalled, *kept]
    view = tuple(dict.fromkeys(pool))[: settings.view_size]
    samples = _shown(state, (*shown, *view))
    (number,) = draw(1)
    if total > FULL * taken:  # what was long ago counts less
        told, arrived = told // np.uint8(2), arrived // np.uint8(2)
    after = replace(
        state,
        period=key_of(number),
        periods=state.periods + 1,
        view=view,
        samples=samples,
        pushed=(),
        heard=(),
        proved=(),
        told=told.tobytes(),
        visits=arrived.tobytes(),
        arrived=arrived.tobytes(),
    )
    partners = tuple(_ordered(after, view, PARTNERS)[: settings.partners])
    names = _names_to_ask(after, state.heard, by_count=tells_apart)
    held = {peer for peer in samples if peer is not None}
    checked = _ordered(after, held - {*partners, *names}, CHECKED)[:1]
    heard = (_place(after, peer) for told_together in state.heard for peer in told_together)
    asked = (*partners, *names, *checked)
    after = replace(after, asked=asked, probed=(*names, *checked), told=counted(after.told, heard))
    return Step(after, tuple(Envelope(peer, Request()) for peer in asked))


def receive(
    state: BrahmsState[Peer], sender: Peer, message: BrahmsMessage[Peer], draw: Draw
) -> BrahmsStep[Peer]:
    """Take in a message from `sender`, which it must have proved to be; nothing is drawn.

    A request is answered with the same part of view and samples all period, so asking often tells no more. A reply
    that is not awaited changes nothing.
    """
    del draw
    if isinstance(message, Request):
        known = {*state.view, *state.samples} - {None, sender}
        told = _ordered(state, (peer for peer in known if peer is not None), TOLD)
        reply: Reply[Peer] = Reply(tuple(told[: state.settings.told]))
        return Step(_pushed(state, sender), (Envelope(sender, reply),))
    if sender not in state.asked:
        return Step(state)
    heard = tuple(message.peers[: state.settings.told])
    state = replace(state, asked=without(state.asked, sender), heard=(*state.heard, heard))
    return Step(prove(state, sender) if sender in state.probed else state)


def prove(state: BrahmsState[Peer], peer: Peer) -> BrahmsState[Peer]:
    """Note that a peer that was asked gave a sign of life: the next tick lets it in."""
    probed = without(state.probed, peer)
    if peer == state.me or peer in state.view or peer in state.proved or peer in state.samples:
        return replace(state, probed=probed)
    return replace(state, probed=probed, proved=(*state.proved, peer)[: state.settings.probes])


def remind(state: BrahmsState[Peer], peers: Iterable[Peer]) -> BrahmsState[Peer]:
    """Add names that are known from before, to be asked like those that were heard."""
    told, names = state.settings.told, tuple(peers)
    parts = tuple(names[first : first + told] for first in range(0, len(names), told))
    return replace(state, heard=(*state.heard, *parts))


def unreachable(state: BrahmsState[Peer], peer: Peer, draw: Draw) -> BrahmsStep[Peer]:
    """Forget a peer that did not answer; nothing is drawn."""
    del draw

    samples = tuple(None if held == peer else held for held in state.samples)
    after = replace(
        state,
        view=without(state.view, peer),
        samples=samples,
        pushed=without(state.pushed, peer),
        proved=without(state.proved, peer),
        asked=without(state.asked, peer),
        probed=without(state.probed, peer),
    )
    return Step(after)


def _ordered(state: BrahmsState[Peer], peers: Iterable[Peer], salt: int) -> list[Peer]:
    key = salted(state.period, salt)
    return sorted(peers, key=lambda peer: rank(state.digest(peer), key))


def _place(state: BrahmsState[Peer], peer: Peer) -> int:
    return place(state.digest(peer), salted(state.keys[0], COUNTED), state.settings.counters)


def _pushed(state: BrahmsState[Peer], sender: Peer) -> BrahmsState[Peer]:
    """Count a push, and keep it: of too many, of the most crowded network the one that pushed most goes."""
    if sender == state.me:
        return state
    state = replace(state, arrived=counted(state.arrived, [_place(state, sender)]))
    if sender in state.view or sender in state.pushed:
        return state
    pushed = [*state.pushed, sender]
    if len(pushed) > state.settings.pushes:
        crowds = Counter(state.network(peer) for peer in pushed)
        most = max(crowds.values())
        crowd = [peer for peer in pushed if crowds[state.network(peer)] == most]
        pushed.remove(_least_often_first(state, crowd)[-1])
    return replace(state, pushed=tuple(pushed))


def _least_often_first(state: BrahmsState[Peer], pushed: Iterable[Peer]) -> list[Peer]:
    """Peers by how often they pushed themselves before, at random where that is equal."""
    return sorted(_ordered(state, pushed, PUSHED), key=lambda peer: state.visits[_place(state, peer)])


def _position(state: BrahmsState[Peer], sampler: int, peer: Peer) -> tuple[int, int]:
    """What a sampler goes by: lowest first."""
    key = state.keys[sampler]
    network = rank(state.network(peer), key) if sampler % 2 else 0
    return network, rank(state.digest(peer), key)


def _shown(state: BrahmsState[Peer], peers: Sequence[Peer]) -> tuple[Peer | None, ...]:
    """Samples after the samplers were shown some more peers."""

    def lowest(sampler: int, held: Peer | None) -> Peer | None:
        candidates = peers if held is None else (held, *peers)
        return min(candidates, key=lambda peer: _position(state, sampler, peer), default=None)

    return tuple(lowest(sampler, held) for sampler, held in enumerate(state.samples))


def _names_to_ask(state: BrahmsState[Peer], heard: Sequence[Sequence[Peer]], *, by_count: bool) -> list[Peer]:
    """The names that came least often, or any; of these fairly by teller, then by network, at random."""
    known = {state.me, *state.view, *state.samples}
    turn: dict[Peer, int] = {}  # a name told by several has its turn with the one that it comes first with
    for told in heard:
        strangers = _ordered(state, {peer for peer in told if peer not in known}, HEARD)
        for position, peer in enumerate(strangers):
            turn[peer] = min(position, turn.get(peer, position))
    crowd: Counter[int] = Counter()
    order: dict[Peer, tuple[int, int, int]] = {}
    for peer in _ordered(state, turn, HEARD):
        network, where = state.network(peer), _place(state, peer)
        count = state.told[where] + state.visits[where] if by_count else 0
        order[peer] = (count, turn[peer], crowd[network])
        crowd[network] += 1
    return sorted(order, key=lambda peer: order[peer])[: state.settings.probes]
