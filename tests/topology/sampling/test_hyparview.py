"""HyParView: what the rules say, and the arrays against the machine, message by message."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.errors import InvalidParameter
from topology.sampling import HyParViewSettings, hyparview_arrays
from topology.sampling import hyparview as hv
from topology.sampling.hyparview_arrays import HyParViewOverlay, deliver, hyparview_overlay, hyparview_period
from topology.sampling.hyparview_rows import Kind, Messages
from topology.sampling.packed import EMPTY

SMALL = HyParViewSettings(
    active_size=3, passive_size=4, active_walk=4, passive_walk=2, shuffle_active=2, shuffle_passive=2
)
PEERS = 10


def low(size):
    return [0.0] * size


def test_who_joins_and_who_is_joined_hold_each_other():
    newcomer = hv.join(hv.start("n", SMALL), "c")
    assert newcomer.state.active == ("c",)
    (envelope,) = newcomer.envelopes
    contact = hv.HyParViewState("c", SMALL, active=("a", "b"))
    after = hv.receive(contact, "n", envelope.message, low)
    assert after.state.active == ("a", "b", "n")
    assert [(e.to, e.message) for e in after.envelopes] == [
        ("a", hv.ForwardJoin("n", 4)),
        ("b", hv.ForwardJoin("n", 4)),
    ]


def test_a_full_contact_drops_a_neighbour_tells_it_and_keeps_it_as_a_spare():
    contact = hv.HyParViewState("c", SMALL, active=("a", "b", "d"))
    after = hv.receive(contact, "n", hv.Join(), low)
    assert after.state.active == ("b", "d", "n")
    assert after.state.passive == ("a",)
    assert after.envelopes[0].to == "a"
    assert after.envelopes[0].message == hv.Disconnect()


def test_a_join_walk_leaves_a_spare_on_its_way_and_a_neighbour_at_its_end():
    on_the_way = hv.HyParViewState("p", SMALL, active=("a", "b"))
    passing = hv.receive(on_the_way, "a", hv.ForwardJoin("n", 2), low)
    assert passing.state.passive == ("n",)
    assert passing.envelopes[0].to == "b"
    assert passing.envelopes[0].message == hv.ForwardJoin("n", 1)
    ending = hv.receive(on_the_way, "a", hv.ForwardJoin("n", 0), low)
    assert ending.state.active == ("a", "b", "n")
    assert ending.envelopes[0].message == hv.NeighbourRequest(urgent=True)


def test_only_urgent_requests_enter_a_full_view():
    full = hv.HyParViewState("p", SMALL, active=("a", "b", "d"))
    refused = hv.receive(full, "n", hv.NeighbourRequest(urgent=False), low)
    assert refused.state == full
    assert refused.envelopes[0].message == hv.NeighbourReply(accepted=False)
    urgent = hv.receive(full, "n", hv.NeighbourRequest(urgent=True), low)
    assert "n" in urgent.state.active
    assert len(urgent.state.active) == 3


def test_a_lost_neighbour_is_replaced_from_the_spares_until_one_accepts():
    state = hv.HyParViewState("p", SMALL, active=("a",), passive=("x", "y", "z"))
    step = hv.unreachable(state, "a", low)
    assert step.envelopes[0].to == "x"
    assert step.envelopes[0].message == hv.NeighbourRequest(urgent=True)
    step = hv.unreachable(step.state, "x", low)
    assert step.state.passive == ("y", "z")
    assert step.envelopes[0].to == "y"
    step = hv.receive(step.state, "y", hv.NeighbourReply(accepted=False), low)
    assert step.state.passive == ("y", "z")
    assert step.envelopes[0].to == "z"
    step = hv.receive(step.state, "z", hv.NeighbourReply(accepted=True), low)
    assert step.state.active == ("z",)
    assert step.state.passive == ("y",)


def test_a_shuffle_swaps_spares_and_sacrifices_what_was_given_away():
    state = hv.HyParViewState("q", SMALL, active=("a",), passive=("w", "x", "y", "z"))
    step = hv.receive(state, "a", hv.Shuffle("o", ("r", "s"), 3), low)
    answer = step.envelopes[0]
    assert answer.to == "o"
    assert answer.message == hv.ShuffleAnswer(("w", "x", "y"))
    assert step.state.passive == ("z", "o", "r", "s")


def test_an_answer_never_asked_for_ends_with_nobody_held_by_one_side_only():
    state = hv.HyParViewState("p", SMALL, active=("a",))
    step = hv.receive(state, "n", hv.NeighbourReply(accepted=True), low)
    assert step.state == state
    assert step.envelopes[0].message == hv.Disconnect()
    step = hv.receive(state, "a", hv.NeighbourReply(accepted=False), low)
    assert step.state.active == ()


def test_peers_that_ask_each_other_in_a_ring_come_to_rest():
    states = {
        name: hv.HyParViewState(name, SMALL, active=(f"{name}1", f"{name}2"), passive=(after,))
        for name, after in (("a", "b"), ("b", "c"), ("c", "a"))
    }
    waiting = []
    for name, state in list(states.items()):
        step = hv.tick(state, low)
        states[name] = step.state
        waiting += [(name, envelope) for envelope in step.envelopes]
    delivered = 0
    while waiting:
        sender, envelope = waiting.pop(0)
        if envelope.to not in states:
            continue
        delivered += 1
        assert delivered < 100
        step = hv.receive(states[envelope.to], sender, envelope.message, low)
        states[envelope.to] = step.state
        waiting += [(envelope.to, sent) for sent in step.envelopes]
    assert all(
        (other in states[name].active) == (name in states[other].active)
        for name in states
        for other in states
    )


def test_hostile_messages_stay_within_the_limits():
    state = hv.HyParViewState("p", SMALL, active=("a", "b"))
    flood = hv.receive(state, "a", hv.Shuffle("o", tuple(range(10_000)), 10**9), low)
    (envelope,) = flood.envelopes
    assert len(envelope.message.peers) == SMALL.shuffle_length - 1
    assert envelope.message.hops_left < SMALL.active_walk
    answered = hv.receive(state, "a", hv.ShuffleAnswer(tuple(range(10_000))), low)
    assert len(answered.state.passive) == SMALL.passive_size


@pytest.mark.parametrize("wrong", [{"active_size": 1}, {"passive_walk": 7}, {"shuffle_active": 6}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InvalidParameter, match=next(iter(wrong))):
        HyParViewSettings(**wrong)


# The arrays against the machine


@st.composite
def states(draw):
    me = draw(st.integers(0, PEERS - 1))
    others = draw(st.permutations([peer for peer in range(PEERS) if peer != me]))
    active = draw(st.integers(0, SMALL.active_size))
    passive = draw(st.integers(0, SMALL.passive_size))
    pool = st.sampled_from(others)
    return hv.HyParViewState(
        me,
        SMALL,
        active=tuple(others[:active]),
        passive=tuple(others[active : active + passive]),
        asking=draw(st.none() | pool),
        refused=tuple(draw(st.lists(pool, unique=True, max_size=SMALL.passive_size))),
        offered=tuple(draw(st.lists(pool, unique=True, max_size=SMALL.shuffle_length - 1))),
    )


peers = st.integers(0, PEERS - 1)
lists = st.lists(peers, unique=True, max_size=SMALL.shuffle_length - 1).map(tuple)
events = st.one_of(
    st.just("tick"),
    st.just("unreachable"),
    st.just(hv.Join()),
    st.builds(hv.ForwardJoin, peers, st.integers(0, 5)),
    st.builds(hv.NeighbourRequest, st.booleans()),
    st.builds(hv.NeighbourReply, st.booleans()),
    st.just(hv.Disconnect()),
    st.builds(hv.Shuffle, peers, lists, st.integers(0, 6)),
    st.builds(hv.ShuffleAnswer, lists),
)


def padded(values, width):
    return np.array([[*values, *[EMPTY] * (width - len(values))]], dtype=np.int32)


def as_overlay(state):
    n, overlay = PEERS, {}
    for name, width in (("active", 3), ("passive", 4), ("refused", 4), ("offered", SMALL.shuffle_length)):
        overlay[name] = np.full((n, width), EMPTY, dtype=np.int32)
        overlay[name][state.me] = padded(getattr(state, name), width)
    asking = np.full(n, EMPTY, dtype=np.int32)
    asking[state.me] = EMPTY if state.asking is None else state.asking
    return HyParViewOverlay(settings=SMALL, asking=asking, alive=np.ones(n, dtype=bool), **overlay)


def as_messages(to, sender, event):
    kind, subject, number, carried = Kind.TICK, EMPTY, 0, ()
    match event:
        case "tick":
            sender = to
        case "unreachable":
            kind = Kind.UNREACHABLE
        case hv.Join():
            kind = Kind.JOIN
        case hv.ForwardJoin():
            kind, subject, number = Kind.FORWARD_JOIN, event.newcomer, event.hops_left
        case hv.NeighbourRequest():
            kind, number = Kind.NEIGHBOUR_REQUEST, int(event.urgent)
        case hv.NeighbourReply():
            kind, number = Kind.NEIGHBOUR_REPLY, int(event.accepted)
        case hv.Disconnect():
            kind = Kind.DISCONNECT
        case hv.Shuffle():
            kind, subject, number, carried = Kind.SHUFFLE, event.origin, event.hops_left, event.peers
        case hv.ShuffleAnswer():
            kind, carried = Kind.SHUFFLE_ANSWER, event.peers
    columns = [np.array([value], dtype=np.int32) for value in (kind, to, sender, subject, number)]
    return Messages(*columns, padded(carried, SMALL.shuffle_length))


def flat(messages):
    names = ("kind", "to", "sender", "subject", "number")
    return [
        (*(int(getattr(messages, name)[i]) for name in names), tuple(messages.peers[i].tolist()))
        for i in range(len(messages))
    ]


@settings(max_examples=400, deadline=None)
@given(states(), peers, events, st.integers(0, 2**32 - 1))
def test_the_arrays_do_what_the_machine_does(state, sender, event, seed):
    sender = (state.me + 1) % PEERS if sender == state.me else sender
    draws = np.random.default_rng(seed).random(hv.draws_per_event(SMALL))
    if event == "tick":
        step = hv.tick(state, lambda _: draws)
    elif event == "unreachable":
        step = hv.unreachable(state, sender, lambda _: draws)
    else:
        step = hv.receive(state, sender, event, lambda _: draws)
    overlay = as_overlay(state)
    sent = deliver(overlay, as_messages(state.me, sender, event), draws[None, :])
    expected = as_overlay(step.state)
    for name in ("active", "passive", "asking", "refused", "offered"):
        assert np.array_equal(getattr(overlay, name), getattr(expected, name)), name
    came = [message for part in sent for message in flat(part)]
    assert came == [flat(as_messages(e.to, state.me, e.message))[0] for e in step.envelopes]
    views = (*step.state.active, *step.state.passive)
    assert len(set(views)) == len(views)
    assert state.me not in views


def test_a_network_of_arrays_takes_every_step_that_its_machines_take(monkeypatch):
    n, generator = 40, np.random.default_rng(5)
    states = {peer: hv.start(peer, SMALL) for peer in range(n)}
    steps = 0

    def checked(overlay, messages, draws):
        nonlocal steps
        sent = deliver(overlay, messages, draws)
        expected = []
        for i, (kind, to, sender, subject, number, carried) in enumerate(flat(messages)):
            steps += 1
            event = as_event(Kind(kind), subject, number, tuple(peer for peer in carried if peer != EMPTY))
            if event == "join":  # a newcomer holds its contact from the start
                states[sender] = hv.join(states[sender], to).state
                event = hv.Join()
            block = draws[i]
            if event == "tick":
                step = hv.tick(states[to], lambda _, now=block: now)
            elif event == "unreachable":
                step = hv.unreachable(states[to], sender, lambda _, now=block: now)
            else:
                step = hv.receive(states[to], sender, event, lambda _, now=block: now)
            states[to] = step.state
            expected += [flat(as_messages(e.to, to, e.message))[0] for e in step.envelopes]
        for to in messages.to.tolist():
            for name in ("active", "passive", "refused", "offered"):
                held = [int(peer) for peer in getattr(overlay, name)[to] if peer != EMPTY]
                assert held == list(getattr(states[to], name)), (steps, to, name)
            assert overlay.asking[to] == (EMPTY if states[to].asking is None else states[to].asking)
        assert sorted(message for part in sent for message in flat(part)) == sorted(expected)
        return sent

    monkeypatch.setattr(hyparview_arrays, "deliver", checked)
    overlay = hyparview_overlay(n, generator=generator, settings=SMALL, newcomers_at_once=0.0)
    for period in range(6):
        if period == 3:
            overlay = replace(overlay, alive=generator.random(n) > 0.4)
        overlay = hyparview_period(overlay, generator)
    assert steps > 1000


def as_event(kind, subject, number, carried):
    return {
        Kind.TICK: "tick",
        Kind.UNREACHABLE: "unreachable",
        Kind.JOIN: "join",
        Kind.FORWARD_JOIN: hv.ForwardJoin(subject, number),
        Kind.NEIGHBOUR_REQUEST: hv.NeighbourRequest(bool(number)),
        Kind.NEIGHBOUR_REPLY: hv.NeighbourReply(bool(number)),
        Kind.DISCONNECT: hv.Disconnect(),
        Kind.SHUFFLE: hv.Shuffle(subject, carried, number),
        Kind.SHUFFLE_ANSWER: hv.ShuffleAnswer(carried),
    }[kind]


def test_a_network_of_peers_is_symmetric_and_nearly_full():
    generator = np.random.default_rng(7)
    overlay = hyparview_overlay(400, generator=generator)
    for _ in range(3):
        overlay = hyparview_period(overlay, generator)
    links = {(i, int(j)) for i, view in enumerate(overlay.active) for j in view if j != EMPTY}
    assert all((j, i) in links for i, j in links)
    assert (overlay.active >= 0).sum() >= 0.98 * overlay.active.size
