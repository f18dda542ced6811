"""Cyclon: small random views of the network, kept so by swapping parts of them.

The enhanced shuffle of Voulgaris, Gavidia and van Steen, "CYCLON: Inexpensive Membership Management for
Unstructured P2P Overlays", J. Network and Systems Management 13(2), 2005, section 2, as a pure state machine.

Two things heal an overlay. Every period a peer contacts the *oldest* entry of its view and takes it out
at once, so an entry of a peer that has gone is used once at most; this is Cyclon as published. On top of it,
``healing`` is the parameter H of Jelasity et al., "Gossip-based peer sampling", ACM TOCS 25(3), 2007, figure
1: when views are merged, up to H of the oldest entries make room before those that were sent do.
``healing=0`` is Cyclon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias

from topology.sampling.protocol import Draw, Envelope, Peer, Step, chosen_index, in_draw_order
from topology.sampling.settings import CyclonSettings

__all__ = [
    "CyclonMessage",
    "CyclonState",
    "Entry",
    "JoinWalk",
    "ShuffleReply",
    "ShuffleRequest",
    "Welcome",
    "introduce",
    "receive",
    "start",
    "tick",
    "unreachable",
]


@dataclass(frozen=True, slots=True)
class Entry(Generic[Peer]):
    """A known peer, and how many periods ago it vouched for being there."""

    peer: Peer
    age: int = 0


@dataclass(frozen=True, slots=True)
class ShuffleRequest(Generic[Peer]):
    """Part of the sender's view, the sender itself first at age 0."""

    entries: tuple[Entry[Peer], ...]


@dataclass(frozen=True, slots=True)
class ShuffleReply(Generic[Peer]):
    """Part of the replier's view."""

    entries: tuple[Entry[Peer], ...]


@dataclass(frozen=True, slots=True)
class JoinWalk(Generic[Peer]):
    """A random walk on behalf of a newcomer; where it ends, the newcomer swaps itself in."""

    newcomer: Peer
    hops_left: int


@dataclass(frozen=True, slots=True)
class Welcome(Generic[Peer]):
    """The entry that made room for a newcomer, now the newcomer's own."""

    entry: Entry[Peer]


CyclonMessage: TypeAlias = ShuffleRequest[Peer] | ShuffleReply[Peer] | JoinWalk[Peer] | Welcome[Peer]


@dataclass(frozen=True, slots=True)
class CyclonState(Generic[Peer]):
    """One peer's view of the network.

    Invariants: at most ``settings.view_size`` entries, no two of one peer, none of oneself.

    Attributes
    ----------
    me : Peer
        This peer.
    settings : CyclonSettings
    view : tuple of Entry
    awaited : Peer or None
        The partner whose reply is due; its entry has already left the view.
    sent : tuple of Peer
        The peers whose entries went to `awaited`, in the order sent.
    """

    me: Peer
    settings: CyclonSettings
    view: tuple[Entry[Peer], ...] = ()
    awaited: Peer | None = None
    sent: tuple[Peer, ...] = ()

    @property
    def neighbours(self) -> tuple[Peer, ...]:
        """The peers in the view."""
        return tuple(entry.peer for entry in self.view)


CyclonStep: TypeAlias = Step[CyclonState[Peer], Peer, CyclonMessage[Peer]]


def start(me: Peer, contacts: Iterable[Peer], settings: CyclonSettings | None = None) -> CyclonState[Peer]:
    """State of a peer that knows only `contacts`; those beyond the view size are left out."""
    settings = settings or CyclonSettings()
    known = [peer for peer in dict.fromkeys(contacts) if peer != me]
    return CyclonState(me, settings, tuple(Entry(peer) for peer in known[: settings.view_size]))


def tick(state: CyclonState[Peer], draw: Draw) -> CyclonStep[Peer]:
    """Begin one shuffle: age the view, take out its oldest entry, and send that peer part of the rest.

    Called once a period. A reply still awaited from the last period is given up: its peer is already out of
    the view. An empty view sends nothing; such a peer must be started again with contacts.

    Parameters
    ----------
    state : CyclonState
    draw : Draw
        Asked once, for 2 × view size draws: the first half settles which of equally old entries is taken, the
        second which others are sent.
    """
    width = state.settings.view_size
    draws = draw(2 * width)
    if not state.view:
        return Step(replace(state, awaited=None, sent=()))
    aged = [Entry(entry.peer, entry.age + 1) for entry in state.view]
    oldest = max(range(len(aged)), key=lambda index: aged[index].age + draws[index])
    partner = aged[oldest].peer
    order = [index for index in in_draw_order(draws[width:], len(aged)) if index != oldest]
    chosen = [aged[index] for index in order[: state.settings.shuffle_length - 1]]
    rest = tuple(entry for entry in aged if entry.peer != partner)
    after = replace(state, view=rest, awaited=partner, sent=tuple(entry.peer for entry in chosen))
    request: ShuffleRequest[Peer] = ShuffleRequest((Entry(state.me), *chosen))
    return Step(after, (Envelope(partner, request),))


def receive(
    state: CyclonState[Peer], sender: Peer, message: CyclonMessage[Peer], draw: Draw
) -> CyclonStep[Peer]:
    """Take in a message from `sender`.

    Entries of oneself, of peers already known, and beyond the shuffle length are passed over, so no message
    can grow or empty the view. A reply that is not awaited changes nothing.
    """
    if isinstance(message, ShuffleRequest):
        return _answer(state, sender, message, draw)
    if isinstance(message, ShuffleReply):
        if sender != state.awaited:
            return Step(state)
        view = _merged(state, state.sent, message.entries)
        return Step(replace(state, view=view, awaited=None, sent=()))
    if isinstance(message, Welcome):
        return Step(replace(state, view=_merged(state, (), (message.entry,))))
    return _walk(state, message, draw)


def unreachable(state: CyclonState[Peer], peer: Peer, draw: Draw) -> CyclonStep[Peer]:
    """Forget a peer that did not answer; nothing is drawn."""
    del draw
    view = tuple(entry for entry in state.view if entry.peer != peer)
    if state.awaited == peer:
        return Step(replace(state, view=view, awaited=None, sent=()))
    return Step(replace(state, view=view))


def introduce(state: CyclonState[Peer], newcomer: Peer, draw: Draw) -> CyclonStep[Peer]:
    """Let a newcomer in: one random walk per place in a view (section 2.3 of the paper).

    The walks end at peers drawn nearly uniformly; each trades one entry for the newcomer, so nobody's
    in-degree changes and the newcomer's becomes what everybody's is. `draw` is asked once, for view-size
    draws.
    """
    draws = draw(state.settings.view_size)
    others = [entry.peer for entry in state.view if entry.peer != newcomer]
    if not others or newcomer == state.me:
        return Step(state)
    walk: JoinWalk[Peer] = JoinWalk(newcomer, state.settings.join_hops)
    starts = [others[chosen_index(number, len(others))] for number in draws]
    return Step(state, tuple(Envelope(peer, walk) for peer in starts))


def _answer(
    state: CyclonState[Peer], sender: Peer, message: ShuffleRequest[Peer], draw: Draw
) -> CyclonStep[Peer]:
    order = in_draw_order(draw(state.settings.view_size), len(state.view))
    chosen = tuple(state.view[index] for index in order[: state.settings.shuffle_length])
    view = _merged(state, tuple(entry.peer for entry in chosen), message.entries)
    reply: ShuffleReply[Peer] = ShuffleReply(chosen)
    return Step(replace(state, view=view), (Envelope(sender, reply),))


def _walk(state: CyclonState[Peer], message: JoinWalk[Peer], draw: Draw) -> CyclonStep[Peer]:
    (number,) = draw(1)
    hops = min(message.hops_left, state.settings.join_hops)
    others = [entry for entry in state.view if entry.peer != message.newcomer]
    if message.newcomer == state.me or not others:
        return Step(state)
    picked = others[chosen_index(number, len(others))]
    if hops > 0:
        walk: JoinWalk[Peer] = JoinWalk(message.newcomer, hops - 1)
        return Step(state, (Envelope(picked.peer, walk),))
    if len(others) < len(state.view):
        return Step(state)
    view = tuple(Entry(message.newcomer) if entry == picked else entry for entry in state.view)
    welcome: Welcome[Peer] = Welcome(picked)
    return Step(replace(state, view=view), (Envelope(message.newcomer, welcome),))


def _merged(
    state: CyclonState[Peer], sent: Sequence[Peer], received: Sequence[Entry[Peer]]
) -> tuple[Entry[Peer], ...]:
    """View after a swap: unsent entries, then new ones, then those sent for which there is still room."""
    settings = state.settings
    accepted = {
        entry.peer: Entry(entry.peer, max(entry.age, 0))
        for entry in reversed(received[: settings.shuffle_length])
    }
    mine = {entry.peer: entry for entry in state.view}
    if settings.healing:
        for peer, entry in mine.items():
            mine[peer] = min(entry, accepted.get(peer, entry), key=lambda e: e.age)
    away = set(sent)
    unsent = [entry for peer, entry in mine.items() if peer not in away]
    fresh = [
        accepted[peer]
        for peer in dict.fromkeys(entry.peer for entry in received[: settings.shuffle_length])
        if peer not in mine and peer != state.me
    ]
    sent_back = [mine[peer] for peer in sent if peer in mine]
    pool = [*unsent, *fresh, *sent_back]
    surplus = max(len(pool) - settings.view_size, 0)
    by_age = sorted(range(len(pool)), key=lambda index: (-pool[index].age, -index))
    dropped = set(by_age[: min(settings.healing, surplus)])
    kept = [entry for index, entry in enumerate(pool) if index not in dropped]
    return tuple(kept[: settings.view_size])
