"""Brahms: samples of the network that hold although some of its members push themselves.

After Bortnikov, Gurevich, Keidar, Kliot and Shraer, "Brahms: Byzantine resilient random membership sampling",
Computer Networks 53(13), 2009, as a pure state machine. Three things keep liars from taking over:

* *Samplers* (section 3.1): each keeps, of all peers that it was ever shown, the one that ranks lowest under a key
  of its own. How often a peer is named does not matter, so a sample comes to be uniform over the peers that exist.
* *Bounds*: in a period a peer lets in at most so many that pushed themselves, and so many of those it was told of
  by whom it had asked. What nobody asked for is not read.
* *History* (γ in the paper): part of the view comes from the samplers, and heals it.

Five things differ from the paper. A name counts only once its bearer has answered: names that others tell are
asked first, a bounded number a period. Of too many pushes a random few are let in, where the paper lets in
none, so that a flood does not freeze the view. What is let in is fair to its tellers and to the networks it
comes from: every other sampler ranks networks before peers. And entries that nothing replaces stay in the view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias

from topology.sampling.protocol import Draw, Envelope, Peer, Step, without
from topology.sampling.ranks import key_of, rank, salted
from topology.sampling.settings import BrahmsSettings

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

PUSHED, RECALLED, KEPT, PARTNERS, HEARD, TOLD, CHECKED = range(7)
"""Salts: each random order of a period has one."""


@dataclass(frozen=True, slots=True)
class Request:
    """A push of the sender, and a question for part of the receiver's view."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[Peer]):
    """Part of the replier's view."""

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
        Partners whose reply is due.
    probed : tuple of Peer
        Peers of whom a sign of life is due.
    proved : tuple of Peer
        Those of them that gave it.
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
        digest=digest,
        network=network,
    )


def tick(state: BrahmsState[Peer], draw: Draw) -> BrahmsStep[Peer]:
    """Let in those that the last period brought, and ask partners, names that were heard, and one sample.

    Called once a period. `draw` is asked once, for one draw: the key of the period's random orders.
    """
    settings = state.settings
    pushed = _ordered(state, state.pushed, PUSHED)
    sampled = {peer for peer in state.samples if peer is not None}
    recalled = _ordered(state, sampled, RECALLED)[: settings.history]
    kept = _ordered(state, state.view, KEPT)
    if state.periods % settings.renewal == 0:
        pool = [*pushed, *state.proved[: settings.pulls], *recalled, *kept]
    else:
        pool = [*kept, *pushed, *state.proved]
    view = tuple(dict.fromkeys(pool))[: settings.view_size]
    samples = _shown(state, (*pushed, *state.proved, *view))
    (number,) = draw(1)
    after = replace(
        state,
        period=key_of(number),
        periods=state.periods + 1,
        view=view,
        samples=samples,
        pushed=(),
        heard=(),
        proved=(),
    )
    partners = tuple(_ordered(after, view, PARTNERS)[: settings.partners])
    names = _names_to_ask(after, state.heard)
    held = {peer for peer in samples if peer is not None}
    checked = _ordered(after, held - {*partners}, CHECKED)[:1]
    after = replace(after, asked=partners, probed=(*names, *checked))
    return Step(after, tuple(Envelope(peer, Request()) for peer in (*partners, *names, *checked)))


def receive(
    state: BrahmsState[Peer], sender: Peer, message: BrahmsMessage[Peer], draw: Draw
) -> BrahmsStep[Peer]:
    """Take in a message from `sender`, which it must have proved to be; nothing is drawn.

    A request is answered with the same part of the view all period, so asking often tells no more. A reply that
    is not awaited changes nothing.
    """
    del draw
    if isinstance(message, Request):
        told = [peer for peer in _ordered(state, state.view, TOLD) if peer != sender]
        reply: Reply[Peer] = Reply(tuple(told[: state.settings.told]))
        return Step(_pushed(state, sender), (Envelope(sender, reply),))
    if sender in state.asked:
        heard = tuple(message.peers[: state.settings.told])
        return Step(replace(state, asked=without(state.asked, sender), heard=(*state.heard, heard)))
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


def _pushed(state: BrahmsState[Peer], sender: Peer) -> BrahmsState[Peer]:
    """Who pushed itself, with one more: of too many, the last in rank of the most crowded network goes."""
    if sender == state.me or sender in state.view or sender in state.pushed:
        return state
    pushed = [*state.pushed, sender]
    if len(pushed) > state.settings.pushes:
        crowds = Counter(state.network(peer) for peer in pushed)
        most = max(crowds.values())
        pushed.remove(_ordered(state, [p for p in pushed if crowds[state.network(p)] == most], PUSHED)[-1])
    return replace(state, pushed=tuple(pushed))


def _place(state: BrahmsState[Peer], sampler: int, peer: Peer) -> tuple[int, int]:
    """What a sampler goes by: lowest first."""
    key = state.keys[sampler]
    network = rank(state.network(peer), key) if sampler % 2 else 0
    return network, rank(state.digest(peer), key)


def _shown(state: BrahmsState[Peer], peers: Sequence[Peer]) -> tuple[Peer | None, ...]:
    """Samples after the samplers were shown some more peers."""

    def lowest(sampler: int, held: Peer | None) -> Peer | None:
        candidates = peers if held is None else (held, *peers)
        return min(candidates, key=lambda peer: _place(state, sampler, peer), default=None)

    return tuple(lowest(sampler, held) for sampler, held in enumerate(state.samples))


def _is_wanted(state: BrahmsState[Peer], peer: Peer) -> bool:
    """Whether a sampler would hold this peer, if it answers."""
    return any(
        held is None or _place(state, sampler, peer) < _place(state, sampler, held)
        for sampler, held in enumerate(state.samples)
    )


def _names_to_ask(state: BrahmsState[Peer], heard: Sequence[Sequence[Peer]]) -> list[Peer]:
    """The names that samplers want first; then fairly by teller, then by network, at random."""
    known = {state.me, *state.view, *state.samples}
    turn: dict[Peer, int] = {}  # a name told by several has its turn with the one that it comes first with
    for told in heard:
        fresh = _ordered(state, {peer for peer in told if peer not in known}, HEARD)
        for place, peer in enumerate(fresh):
            turn[peer] = min(place, turn.get(peer, place))
    crowd: Counter[int] = Counter()
    order: dict[Peer, tuple[bool, int, int]] = {}
    for peer in _ordered(state, turn, HEARD):
        network = state.network(peer)
        order[peer] = (not _is_wanted(state, peer), turn[peer], crowd[network])
        crowd[network] += 1
    return sorted(order, key=lambda peer: order[peer])[: state.settings.probes]
