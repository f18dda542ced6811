"""HyParView: a small connected view to gossip over, and a larger spare one to repair it from.

Leitão, Pereira and Rodrigues, "HyParView: A Membership Protocol for Reliable Gossip-Based Broadcast", DSN
2007, algorithms 1 (joining and leaving) and sections 4.3–4.5 (repair, shuffling), as a pure state machine.
Active views are symmetric: whoever drops a neighbour tells it, whoever adds one asks it.

Each event asks `draw` exactly once, for ``draws_per_event(settings)`` draws, whatever it then uses: so a
network of these machines can be run in any form, one at a time or thousands at once, from the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias

from topology.sampling.protocol import Draw, Envelope, Peer, Step, chosen_index, in_draw_order, without
from topology.sampling.settings import HyParViewSettings

__all__ = [
    "Disconnect",
    "ForwardJoin",
    "HyParViewMessage",
    "HyParViewState",
    "Join",
    "NeighbourReply",
    "NeighbourRequest",
    "Shuffle",
    "ShuffleAnswer",
    "draws_per_event",
    "join",
    "receive",
    "start",
    "tick",
    "unreachable",
]


PICK, DROP_ACTIVE, DROP_PASSIVE, SAMPLES = 0, 1, 2, 3
"""Places in the block of draws that every event asks for; samples take all from the last on."""


@dataclass(frozen=True, slots=True)
class Join:
    """The sender is new and asks to be let in."""


@dataclass(frozen=True, slots=True)
class ForwardJoin(Generic[Peer]):
    """News of a newcomer on a random walk."""

    newcomer: Peer
    hops_left: int


@dataclass(frozen=True, slots=True)
class NeighbourRequest:
    """The sender wants to be a neighbour; if `urgent` it has no other and must not be refused."""

    urgent: bool


@dataclass(frozen=True, slots=True)
class NeighbourReply:
    """Answer to a `NeighbourRequest`."""

    accepted: bool


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The sender no longer is a neighbour, but still there."""


@dataclass(frozen=True, slots=True)
class Shuffle(Generic[Peer]):
    """Peers known to `origin`, on a random walk to somebody who will swap."""

    origin: Peer
    peers: tuple[Peer, ...]
    hops_left: int


@dataclass(frozen=True, slots=True)
class ShuffleAnswer(Generic[Peer]):
    """As many peers in return."""

    peers: tuple[Peer, ...]


HyParViewMessage: TypeAlias = (
    Join
    | ForwardJoin[Peer]
    | NeighbourRequest
    | NeighbourReply
    | Disconnect
    | Shuffle[Peer]
    | ShuffleAnswer[Peer]
)


@dataclass(frozen=True, slots=True)
class HyParViewState(Generic[Peer]):
    """One peer's neighbours and spare peers.

    Invariants: the two views are disjoint, free of repetitions and of oneself, and within their sizes.

    Attributes
    ----------
    me : Peer
        This peer.
    settings : HyParViewSettings
    active, passive : tuple of Peer
        The neighbours to gossip with, and the spare ones.
    asking : Peer or None
        A spare peer that was asked to become a neighbour and has not answered yet.
    refused : tuple of Peer
        Those not to be asked again before the next period.
    offered : tuple of Peer
        What the last shuffle offered; it makes room first when the answer comes.
    """

    me: Peer
    settings: HyParViewSettings
    active: tuple[Peer, ...] = ()
    passive: tuple[Peer, ...] = ()
    asking: Peer | None = None
    refused: tuple[Peer, ...] = ()
    offered: tuple[Peer, ...] = ()

    @property
    def neighbours(self) -> tuple[Peer, ...]:
        """The active view."""
        return self.active


HyParViewStep: TypeAlias = Step[HyParViewState[Peer], Peer, HyParViewMessage[Peer]]
_Envelopes: TypeAlias = tuple[Envelope[Peer, HyParViewMessage[Peer]], ...]


def draws_per_event(settings: HyParViewSettings) -> int:
    """Draws one event asks for."""
    return SAMPLES + settings.active_size + settings.passive_size + settings.shuffle_length


def start(me: Peer, settings: HyParViewSettings | None = None) -> HyParViewState[Peer]:
    """State of a peer that knows nobody."""
    return HyParViewState(me, settings or HyParViewSettings())


def join(state: HyParViewState[Peer], contact: Peer) -> HyParViewStep[Peer]:
    """Enter the network through `contact`, who becomes a neighbour; a full active view stays as it is."""
    full = len(state.active) >= state.settings.active_size
    if full or contact == state.me or contact in state.active:
        return Step(state)
    return Step(_with_neighbour(state, contact), (Envelope(contact, Join()),))


def tick(state: HyParViewState[Peer], draw: Draw) -> HyParViewStep[Peer]:
    """Begin a period: offer known peers on a random walk, and refill the active view from the passive one."""
    settings = state.settings
    draws = draw(draws_per_event(settings))
    state = replace(state, refused=())
    envelopes: _Envelopes[Peer] = ()
    if state.active:
        to = state.active[chosen_index(draws[DROP_ACTIVE], len(state.active))]
        spare_keys = draws[SAMPLES + settings.active_size :]
        others = tuple(state.active[index] for index in in_draw_order(draws[SAMPLES:], len(state.active)))[
            : settings.shuffle_active
        ]
        spare = tuple(state.passive[index] for index in in_draw_order(spare_keys, len(state.passive)))
        offer = others + spare[: settings.shuffle_passive]
        state = replace(state, offered=offer)
        envelopes = (Envelope(to, Shuffle(state.me, offer, settings.active_walk)),)
    return _repaired(state, draws, envelopes)


def receive(  # noqa: PLR0911 - one return for each kind of message
    state: HyParViewState[Peer], sender: Peer, message: HyParViewMessage[Peer], draw: Draw
) -> HyParViewStep[Peer]:
    """Take in a message from `sender`.

    Hops beyond one's own settings, peers beyond the shuffle length and answers to questions never asked are
    passed over, so no message can make a walk endless or a view too large.
    """
    draws = draw(draws_per_event(state.settings))
    match message:
        case Join():
            return _let_in(state, sender, draws)
        case ForwardJoin():
            return _forward_join(state, sender, message, draws)
        case NeighbourRequest():
            return _answer_request(state, sender, message, draws)
        case NeighbourReply():
            return _take_reply(state, sender, message, draws)
        case Disconnect():
            return _disconnected(state, sender, draws)
        case Shuffle():
            return _shuffled(state, sender, message, draws)
        case ShuffleAnswer():
            return Step(replace(_with_spares(state, message.peers, state.offered, draws), offered=()))


def unreachable(state: HyParViewState[Peer], peer: Peer, draw: Draw) -> HyParViewStep[Peer]:
    """Forget a peer whose connection broke or could not be made, and look for another in its place."""
    draws = draw(draws_per_event(state.settings))
    forgotten = replace(
        state,
        active=without(state.active, peer),
        passive=without(state.passive, peer),
        asking=None if state.asking == peer else state.asking,
    )
    return _repaired(forgotten, draws)


def _let_in(state: HyParViewState[Peer], newcomer: Peer, draws: Sequence[float]) -> HyParViewStep[Peer]:
    after, envelopes = _added(state, newcomer, draws)
    walk: ForwardJoin[Peer] = ForwardJoin(newcomer, state.settings.active_walk)
    news: _Envelopes[Peer] = tuple(Envelope(peer, walk) for peer in after.active if peer != newcomer)
    return Step(after, (*envelopes, *news))


def _forward_join(
    state: HyParViewState[Peer], sender: Peer, message: ForwardJoin[Peer], draws: Sequence[float]
) -> HyParViewStep[Peer]:
    newcomer, settings = message.newcomer, state.settings
    if newcomer == state.me:
        return Step(state)
    hops = min(max(message.hops_left, 0), settings.active_walk)
    onward = [peer for peer in state.active if peer not in (sender, newcomer)]
    if hops == 0 or len(state.active) <= 1 or not onward:
        if newcomer in state.active:
            return Step(state)
        after, envelopes = _added(state, newcomer, draws)
        return Step(after, (*envelopes, Envelope(newcomer, NeighbourRequest(urgent=True))))
    if hops == settings.passive_walk:
        state = _with_spare(state, newcomer, draws[DROP_PASSIVE])
    to = onward[chosen_index(draws[PICK], len(onward))]
    return Step(state, (Envelope(to, ForwardJoin(newcomer, hops - 1)),))


def _answer_request(
    state: HyParViewState[Peer], sender: Peer, message: NeighbourRequest, draws: Sequence[float]
) -> HyParViewStep[Peer]:
    room = sender in state.active or len(state.active) < state.settings.active_size
    if not (room or message.urgent):
        return Step(state, (Envelope(sender, NeighbourReply(accepted=False)),))
    after, envelopes = _added(state, sender, draws)
    return Step(after, (*envelopes, Envelope(sender, NeighbourReply(accepted=True))))


def _take_reply(
    state: HyParViewState[Peer], sender: Peer, message: NeighbourReply, draws: Sequence[float]
) -> HyParViewStep[Peer]:
    due = sender == state.asking
    held = sender in state.active
    if due:
        state = replace(state, asking=None)
    if not message.accepted:
        # Who refuses does not hold this peer, so it must not be held either: requests may cross farewells.
        return _demoted(state, sender, draws) if due or held else Step(state)
    if held:
        return _repaired(state, draws) if due else Step(state)
    if not due or len(state.active) >= state.settings.active_size:
        # Not to be asked again this period, or peers asking each other in a ring would never be done.
        state = _with_refusal(state, sender) if due else state
        return Step(state, (Envelope(sender, Disconnect()),))
    return _repaired(_with_neighbour(state, sender), draws)


def _disconnected(state: HyParViewState[Peer], sender: Peer, draws: Sequence[float]) -> HyParViewStep[Peer]:
    return _demoted(state, sender, draws) if sender in state.active else Step(state)


def _demoted(state: HyParViewState[Peer], peer: Peer, draws: Sequence[float]) -> HyParViewStep[Peer]:
    """`peer` as a spare one that is not asked again this period, and another in its place."""
    if peer in state.active:
        state = replace(state, active=without(state.active, peer))
        state = _with_spare(state, peer, draws[DROP_PASSIVE])
    return _repaired(_with_refusal(state, peer), draws)


def _shuffled(
    state: HyParViewState[Peer], sender: Peer, message: Shuffle[Peer], draws: Sequence[float]
) -> HyParViewStep[Peer]:
    settings = state.settings
    if message.origin == state.me:
        return Step(state)
    offered = message.peers[: settings.shuffle_length - 1]
    hops = min(message.hops_left, settings.active_walk) - 1
    onward = [peer for peer in state.active if peer not in (sender, message.origin)]
    if hops > 0 and len(state.active) > 1 and onward:
        to = onward[chosen_index(draws[PICK], len(onward))]
        return Step(state, (Envelope(to, Shuffle(message.origin, offered, hops)),))
    order = in_draw_order(draws[SAMPLES + settings.active_size :], len(state.passive))
    given = tuple(state.passive[index] for index in order[: len(offered) + 1])
    after = _with_spares(state, (message.origin, *offered), given, draws)
    return Step(after, (Envelope(message.origin, ShuffleAnswer(given)),))


def _repaired(
    state: HyParViewState[Peer], draws: Sequence[float], envelopes: _Envelopes[Peer] = ()
) -> HyParViewStep[Peer]:
    """Ask a spare peer to become a neighbour, if one is wanted and none has been asked."""
    settings = state.settings
    candidates = [peer for peer in state.passive if peer not in state.refused]
    wanted = len(state.active) < settings.active_size and len(state.refused) < settings.passive_size
    if state.asking is not None or not wanted or not candidates:
        return Step(state, envelopes)
    candidate = candidates[chosen_index(draws[PICK], len(candidates))]
    request = NeighbourRequest(urgent=not state.active)
    return Step(replace(state, asking=candidate), (*envelopes, Envelope(candidate, request)))


def _added(
    state: HyParViewState[Peer], peer: Peer, draws: Sequence[float]
) -> tuple[HyParViewState[Peer], _Envelopes[Peer]]:
    """`peer` as a neighbour; a full active view drops a random one, and tells it."""
    if peer in state.active or peer == state.me:
        return state, ()
    if len(state.active) < state.settings.active_size:
        return _with_neighbour(state, peer), ()
    dropped = state.active[chosen_index(draws[DROP_ACTIVE], len(state.active))]
    after = _with_neighbour(replace(state, active=without(state.active, dropped)), peer)
    return _with_spare(after, dropped, draws[DROP_PASSIVE]), (Envelope(dropped, Disconnect()),)


def _with_neighbour(state: HyParViewState[Peer], peer: Peer) -> HyParViewState[Peer]:
    active = state.active if peer in state.active else (*state.active, peer)
    return replace(state, active=active, passive=without(state.passive, peer))


def _with_refusal(state: HyParViewState[Peer], peer: Peer) -> HyParViewState[Peer]:
    if peer in state.refused or len(state.refused) >= state.settings.passive_size:
        return state
    return replace(state, refused=(*state.refused, peer))


def _with_spare(state: HyParViewState[Peer], peer: Peer, draw: float) -> HyParViewState[Peer]:
    if peer == state.me or peer in state.active or peer in state.passive:
        return state
    passive = state.passive
    if len(passive) >= state.settings.passive_size:
        index = chosen_index(draw, len(passive))
        passive = passive[:index] + passive[index + 1 :]
    return replace(state, passive=(*passive, peer))


def _with_spares(
    state: HyParViewState[Peer], peers: Sequence[Peer], given: Sequence[Peer], draws: Sequence[float]
) -> HyParViewState[Peer]:
    """`peers` as spares; in a full passive view those just given away make room first, then random ones."""
    settings = state.settings
    numbers = draws[SAMPLES + settings.active_size + settings.passive_size :]
    for position, peer in enumerate(peers[: settings.shuffle_length]):
        full = len(state.passive) >= settings.passive_size
        if full and peer not in (state.me, *state.active, *state.passive):
            gone = next((other for other in given if other in state.passive), None)
            if gone is not None:
                state = replace(state, passive=without(state.passive, gone))
        state = _with_spare(state, peer, numbers[position])
    return state
