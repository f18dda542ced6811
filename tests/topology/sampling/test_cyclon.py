"""Cyclon: what the rules say, and the arrays against the machines, entry by entry."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.errors import InvalidParameter
from topology.sampling import CyclonSettings, cyclon, cyclon_overlay, cyclon_period, draw_cyclon_period
from topology.sampling.cyclon import Entry

SMALL = CyclonSettings(view_size=4, shuffle_length=3, join_hops=2)


def low(size):
    return [0.0] * size


def rising(size):
    return [index / size for index in range(size)]


def test_a_tick_ages_the_view_and_sends_the_oldest_entry_part_of_the_rest():
    state = cyclon.CyclonState("p", SMALL, (Entry("a", 1), Entry("q", 5), Entry("b", 2), Entry("c", 3)))
    step = cyclon.tick(state, rising)
    assert step.state.view == (Entry("a", 2), Entry("b", 3), Entry("c", 4))
    (envelope,) = step.envelopes
    assert envelope.to == "q"
    assert envelope.message == cyclon.ShuffleRequest((Entry("p", 0), Entry("a", 2), Entry("b", 3)))


def test_an_exchange_swaps_what_was_sent_and_turns_the_used_link_around():
    p = cyclon.CyclonState("p", SMALL, (Entry("a"), Entry("q", 5), Entry("b"), Entry("c")))
    q = cyclon.CyclonState("q", SMALL, (Entry("d"), Entry("e"), Entry("f"), Entry("g")))
    asked = cyclon.tick(p, rising)
    answered = cyclon.receive(q, "p", asked.envelopes[0].message, rising)
    done = cyclon.receive(asked.state, "q", answered.envelopes[0].message, low)
    assert answered.state.neighbours == ("g", "p", "a", "b")
    assert done.state.neighbours == ("c", "d", "e", "f")
    assert done.state.awaited is None


def test_a_peer_that_does_not_answer_is_gone_after_its_tick():
    state = cyclon.start("p", ["gone", "a"], SMALL)
    asked = cyclon.tick(state, lambda size: [0.9, *[0.0] * (size - 1)])
    assert asked.envelopes[0].to == "gone"
    assert asked.state.neighbours == ("a",)
    assert cyclon.unreachable(asked.state, "gone", low).state.awaited is None


def test_replies_nobody_awaits_change_nothing():
    state = cyclon.start("p", ["a"], SMALL)
    step = cyclon.receive(state, "b", cyclon.ShuffleReply((Entry("x"),)), low)
    assert step.state == state


def test_healing_lets_the_oldest_make_room():
    view = (Entry("a", 9), Entry("b", 1), Entry("c", 2), Entry("d", 3))
    request = cyclon.ShuffleRequest((Entry("p", 0), Entry("b", 0)))
    as_published = cyclon.receive(cyclon.CyclonState("q", SMALL, view), "p", request, lambda _: [9, 1, 2, 3])
    assert as_published.state.neighbours == ("a", "p", "b", "c")
    assert as_published.state.view[2].age == 1
    healing = replace(SMALL, healing=1)
    healed = cyclon.receive(cyclon.CyclonState("q", healing, view), "p", request, lambda _: [9, 1, 2, 3])
    assert set(healed.state.neighbours) == {"p", "b", "c", "d"}
    assert healed.state.view[1] == Entry("b", 0)


def test_a_newcomer_walks_in_and_takes_places_others_give_up():
    settings = replace(SMALL, join_hops=1)
    states = {name: cyclon.start(name, [x for x in "abcdef" if x != name], settings) for name in "abcdef"}
    states["n"] = cyclon.start("n", [], settings)
    generator = np.random.default_rng(3)
    inbox = [("a", e) for e in cyclon.introduce(states["a"], "n", generator.random).envelopes]
    assert len(inbox) == settings.view_size
    while inbox:
        sender, envelope = inbox.pop(0)
        step = cyclon.receive(states[envelope.to], sender, envelope.message, generator.random)
        states[envelope.to] = step.state
        inbox += [(envelope.to, e) for e in step.envelopes]
    holders = [name for name, state in states.items() if "n" in state.neighbours]
    assert len(holders) >= 2
    assert len(states["n"].neighbours) >= 2
    assert all(len(states[name].view) == settings.view_size for name in "abcdef")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-5, 10**9)), max_size=60), st.integers(0, 4))
def test_no_message_breaks_the_view(entries, healing):
    config = CyclonSettings(view_size=8, shuffle_length=4, healing=healing)
    state = cyclon.start(0, range(1, 9), config)
    request = cyclon.ShuffleRequest(tuple(Entry(peer, age) for peer, age in entries))
    view = cyclon.receive(state, 99, request, np.random.default_rng(0).random).state.view
    names = [entry.peer for entry in view]
    assert len(view) == 8
    assert len(set(names)) == 8
    assert 0 not in names
    assert all(entry.age >= 0 for entry in view)
    assert sum(name > 8 for name in names) <= config.shuffle_length


@pytest.mark.parametrize("wrong", [{"view_size": 0}, {"shuffle_length": 21}, {"healing": 11}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InvalidParameter, match=next(iter(wrong))):
        CyclonSettings(**wrong)


def entries_of(overlay, i):
    pairs = zip(overlay.views[i].tolist(), overlay.ages[i].tolist(), strict=True)
    return tuple(Entry(peer, age) for peer, age in pairs if peer >= 0)


@pytest.mark.parametrize("healing", [0, 3])
@pytest.mark.parametrize("start", ["random", "ring", "star"])
def test_the_arrays_evolve_as_the_machines_do(start, healing):
    n, config = 60, CyclonSettings(view_size=8, shuffle_length=4, healing=healing)
    generator = np.random.default_rng(11)
    overlay = cyclon_overlay(n, generator=generator, start=start, settings=config)
    states = [cyclon.CyclonState(i, config, entries_of(overlay, i)) for i in range(n)]
    for period in range(24):
        if period == 12:
            alive = generator.random(n) > 0.4
            overlay = replace(overlay, alive=alive)
        draws = draw_cyclon_period(overlay, generator)
        overlay, order = cyclon_period(overlay, draws)
        assert sorted(order.tolist()) == np.flatnonzero(overlay.alive).tolist()
        for i in order.tolist():
            asked = cyclon.tick(states[i], lambda _, now=draws.ticks[i]: now)
            states[i] = asked.state
            for envelope in asked.envelopes:
                if not overlay.alive[envelope.to]:
                    continue
                answered = cyclon.receive(
                    states[envelope.to], i, envelope.message, lambda _, now=draws.answers[i]: now
                )
                states[envelope.to] = answered.state
                states[i] = cyclon.receive(states[i], envelope.to, answered.envelopes[0].message, low).state
        for i in range(n):
            assert entries_of(overlay, i) == states[i].view, (period, i)


@pytest.mark.parametrize(("n", "start"), [(20, "random"), (100, "line")])
def test_impossible_networks_are_refused(n, start):
    with pytest.raises(InvalidParameter):
        cyclon_overlay(n, generator=np.random.default_rng(0), start=start)


def test_a_peer_needs_no_more_than_numpy_to_sample_peers():
    heavy = "scipy networkx matplotlib topology.graphs"
    code = f"import sys, topology.sampling; print([m for m in '{heavy}'.split() if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
