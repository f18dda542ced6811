"""Brahms: what the rules say, the arrays against the machines, and what it is for: hostile members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.errors import InvalidParameter
from topology.sampling import BrahmsSettings, brahms, brahms_overlay, brahms_period, draw_brahms_period
from topology.sampling.brahms import Reply, Request
from topology.sampling.ranks import key_of, keys_of, rank, ranks
from topology.sampling.tally import FULL, MOST, OFTEN

SMALL = BrahmsSettings(
    view_size=6, samples=5, partners=2, told=4, probes=2, renewal=2, pushes=2, pulls=2, history=2, counters=64
)


OFTEN_ENOUGH = bytes([OFTEN]) + bytes(SMALL.counters - 1)
"""Tally of a peer that has heard one name, and that one often."""


def draw(seed=0):
    return np.random.default_rng(seed).random


def started(contacts=range(1, 7), *, seed=0, **options):
    return brahms.start(0, contacts, SMALL, draw(seed), **options)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=50), st.floats(0, 1, exclude_max=True))
def test_ranks_are_the_same_for_integers_and_arrays(digests, number):
    key = keys_of(np.array([number]))
    assert int(key[0]) == key_of(number)
    assert ranks(np.array(digests), key).tolist() == [rank(each, key_of(number)) for each in digests]


def test_a_sampler_holds_each_peer_equally_often_however_often_it_is_named():
    counts = np.zeros(10)
    for seed in range(600):
        state = started([], seed=seed)
        stream = [*range(1, 11), *[3] * 50]
        state = replace(state, samples=brahms._shown(state, stream))
        for peer in state.samples:
            counts[peer - 1] += 1
    assert counts.sum() == 3000
    assert abs(counts - 300).max() < 75  # 4.5 standard deviations


def test_every_other_sampler_looks_at_networks_before_peers():
    """Many identities of one network have these samplers no more often than one of another."""
    held = np.zeros(2)
    for seed in range(200):
        state = started([], seed=seed, network=lambda peer: int(peer < 200))
        samples = brahms._shown(state, range(1, 201))
        held += [sum(samples[i] == 200 for i in range(0, 5, 2)), sum(samples[i] == 200 for i in (1, 3))]
    assert held[0] < 15  # 3 expected
    assert 150 < held[1] < 250  # 200 expected


def test_a_tick_asks_partners_and_names_but_lets_names_in_only_once_they_answer():
    state = started(range(1, 5))
    step = brahms.tick(state, draw())
    partners = step.state.asked[:2]
    assert [each.to for each in step.envelopes] == list(step.state.asked)
    assert set(step.state.samples) <= set(range(1, 5))
    heard = brahms.receive(step.state, partners[0], Reply((50, 51, 0, 2)), draw()).state
    step = brahms.tick(heard, draw(1))
    names = set(step.state.probed) - set(range(7))
    assert names == {50, 51}
    assert not {50, 51} & {*step.state.view, *step.state.samples}
    state = brahms.receive(step.state, 50, Reply((99,)), draw()).state
    state = brahms.unreachable(state, 51, draw()).state
    state = brahms.tick(state, draw(2)).state
    assert 50 in state.view
    assert 51 not in state.view
    assert 99 in state.probed  # two hops a period


def test_between_renewals_the_view_keeps_those_that_answer():
    state = replace(brahms.tick(started(), draw()).state, told=OFTEN_ENOUGH)
    names = [10, 11]
    for renewed in (True, False):
        state = replace(state, pushed=tuple(names))
        before, state = state.view, brahms.tick(state, draw()).state
        assert (set(state.view) != set(before)) == renewed
        names = [20, 21]


def test_nobody_is_exchanged_before_names_have_come_several_times_on_average():
    state = replace(brahms.tick(started(), draw()).state, pushed=(10,), proved=(11,), periods=2)
    seldom = brahms.tick(replace(state, told=bytes([OFTEN, OFTEN - 1]) + bytes(62)), draw()).state
    assert not {10, 11} & {*seldom.view, *seldom.samples}
    often = brahms.tick(replace(state, told=bytes([OFTEN, OFTEN]) + bytes(62)), draw()).state
    assert {10, 11} <= set(often.view)


def test_of_more_strangers_than_an_honest_network_would_send_none_is_let_in():
    state = replace(brahms.tick(started(), draw()).state, told=OFTEN_ENOUGH, periods=2)
    few, many = state, state
    for sender in range(10, 10 + SMALL.requests):
        few = brahms.receive(few, sender, Request(), draw()).state
    for sender in range(10, 60):
        many = brahms.receive(many, sender, Request(), draw()).state
    assert set(brahms.tick(few, draw()).state.view) - set(range(1, 7))
    assert set(brahms.tick(many, draw()).state.view) == set(state.view)


def test_names_that_came_least_often_are_asked_and_who_pushed_least_often_is_let_in():
    state = replace(brahms.tick(started(), draw()).state, told=OFTEN_ENOUGH)
    for _ in range(3):
        for sender in (20, 21, 22):
            state = brahms.receive(state, sender, Request(), draw()).state
        state = brahms.tick(replace(state, heard=((30, 31, 32),)), draw()).state
    for sender in (20, 21, 22, 23, 24):
        state = brahms.receive(state, sender, Request(), draw()).state
    assert set(state.pushed) == {23, 24}
    assert set(brahms.tick(replace(state, heard=((30, 31, 32, 33, 34),)), draw()).state.probed) >= {33, 34}


def test_counters_end_at_their_most_and_are_halved_when_they_are_full():
    state = brahms.tick(started(), draw()).state
    for _ in range(300):
        state = brahms.receive(state, 9, Request(), draw()).state
    assert max(state.arrived) == MOST
    state = brahms.tick(replace(state, told=bytes([FULL] * 64)), draw()).state
    assert max(state.visits) == MOST
    state = brahms.tick(replace(state, told=bytes([FULL + 1] * 64)), draw()).state
    assert max(state.visits) == MOST // 2
    assert max(state.told) == (FULL + 1) // 2


def test_what_nobody_asked_for_is_not_read():
    state = brahms.tick(started(), draw()).state
    stranger = next(peer for peer in range(1, 9) if peer not in (*state.asked, *state.probed))
    assert brahms.receive(state, stranger, Reply((66,)), draw()).state == state


def test_of_too_many_pushes_a_random_few_are_let_in_and_repeating_does_not_help():
    counts = np.zeros(40)
    for seed in range(300):
        state = brahms.tick(started(seed=seed), draw(seed)).state
        for sender in [*range(10, 50), *[10] * 100]:
            state = brahms.receive(state, sender, Request(), draw()).state
        assert len(state.pushed) == SMALL.pushes
        for peer in state.pushed:
            counts[peer - 10] += 1
    assert counts[0] < 35  # 15 expected
    assert (counts > 0).sum() > 35


def test_pushes_are_fair_to_the_networks_they_come_from():
    state = brahms.tick(started(network=lambda peer: int(peer < 100)), draw()).state
    for sender in [7, *range(100, 200)]:
        state = brahms.receive(state, sender, Request(), draw()).state
    assert 7 in state.pushed


def test_asking_again_tells_no_more():
    state = brahms.tick(started(), draw()).state
    answers = {
        brahms.receive(state, sender, Request(), draw()).envelopes[0].message.peers
        for sender in range(100, 150)
    }
    assert len(answers) == 1
    assert len(next(iter(answers))) == SMALL.told


MESSAGES = st.one_of(
    st.just(Request()), st.builds(Reply, st.lists(st.integers(0, 40), max_size=12).map(tuple))
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), MESSAGES, st.booleans()), max_size=60))
def test_no_message_breaks_the_state(events):
    state = started(range(1, 4))
    met = {1, 2, 3}
    for seed, (sender, message, ticks) in enumerate(events):
        met |= {sender}
        state = brahms.receive(state, sender, message, draw()).state
        if ticks:
            step = brahms.tick(state, draw(seed))
            state = step.state
            assert len(step.envelopes) <= SMALL.partners + SMALL.probes + 1
            assert len({each.to for each in step.envelopes}) == len(step.envelopes)
        assert len(set(state.view)) == len(state.view) <= SMALL.view_size
        assert len(state.pushed) <= SMALL.pushes
        assert len(state.heard) <= SMALL.requests
        assert 0 not in (*state.view, *state.samples, *state.pushed)
        assert {*state.view, *state.samples} - {None} <= met


def test_a_peer_that_does_not_answer_is_gone_and_its_place_is_taken():
    state = brahms.tick(started(), draw()).state
    gone = state.samples[0]
    state = brahms.unreachable(state, gone, draw()).state
    assert gone not in (*state.view, *state.samples)
    state = brahms.tick(state, draw(1)).state
    assert None not in state.samples


@pytest.mark.parametrize("hostile", [0.0, 0.2])
def test_the_arrays_evolve_as_the_machines_do(hostile):
    n, generator = 60, np.random.default_rng(5)
    overlay = brahms_overlay(n, generator=np.random.default_rng(5), hostile=hostile, known=3, settings=SMALL)
    keys = generator.random((n, 1 + SMALL.samples))
    states = {
        i: brahms.start(i, [p for p in overlay.views[i].tolist() if p >= 0], SMALL, lambda _, i=i: keys[i])
        for i in np.flatnonzero(~overlay.hostile).tolist()
    }
    generator = np.random.default_rng(6)
    for period in range(24):
        if period == 12:
            overlay = replace(overlay, alive=generator.random(n) > 0.3)
            states = {i: state for i, state in states.items() if overlay.alive[i]}
        draws = draw_brahms_period(overlay, generator, multiple=4)
        step_machines(states, overlay, draws)
        overlay = brahms_period(overlay, draws)
        for i, state in states.items():
            assert tuple(p for p in overlay.views[i].tolist() if p >= 0) == state.view, (period, i)
            assert tuple(None if p < 0 else p for p in overlay.samples[i].tolist()) == state.samples, (
                period,
                i,
            )


def step_machines(states, overlay, draws):
    asked, columns = {}, {}
    for i in states:
        step = brahms.tick(states[i], lambda _, i=i: [draws.ticks[i]])
        states[i], asked[i] = step.state, [each.to for each in step.envelopes]
        partners = [*range(len(set(asked[i]) - set(step.state.probed)))]
        checked = [SMALL.requests - 1] * bool(set(step.state.probed) & set(step.state.samples))
        names = range(len(asked[i]) - len(partners) - len(checked))
        columns[i] = [*partners, *(SMALL.partners + each for each in names), *checked]
        for peer in asked[i]:
            if not overlay.alive[peer]:
                states[i] = brahms.unreachable(states[i], peer, draw()).state
    replies = []
    for by, to in draws.pushes.tolist():
        states[to] = brahms.receive(states[to], by, Request(), draw()).state
    for i, peers in asked.items():
        for column, peer in zip(columns[i], peers, strict=True):
            if not overlay.alive[peer]:
                continue
            if overlay.hostile[peer]:
                replies.append((i, peer, Reply(tuple(map(int, draws.lies[i, column])))))
                continue
            step = brahms.receive(states[peer], i, Request(), draw())
            states[peer] = step.state
            replies.append((i, peer, step.envelopes[0].message))
    for i, peer, reply in replies:
        states[i] = brahms.receive(states[i], peer, reply, draw()).state


@pytest.mark.parametrize("wrong", [{"partners": 0}, {"pushes": 21}, {"history": -1}, {"told": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InvalidParameter, match=next(iter(wrong))):
        BrahmsSettings(**wrong)


@pytest.mark.parametrize(("n", "hostile"), [(15, 0.1), (100, 1.0)])
def test_impossible_networks_are_refused(n, hostile):
    with pytest.raises(InvalidParameter):
        brahms_overlay(n, generator=np.random.default_rng(0), hostile=hostile)


def attacked(n, hostile, *, periods, counters=None, multiple=10, newcomers=(), joining=0):
    """Overlay after some periods of an attack, and the largest shares of hostile entries until then."""
    generator = np.random.default_rng(3)
    settings = BrahmsSettings(counters=counters or BrahmsSettings().counters)
    overlay = brahms_overlay(n, generator=generator, hostile=hostile, settings=settings)
    overlay = replace(overlay, alive=~np.isin(np.arange(n), newcomers))
    settled, worst = np.flatnonzero(overlay.honest), np.zeros(2)
    for period in range(periods):
        if period == joining and len(newcomers):
            overlay.views[newcomers] = -1
            overlay.views[newcomers, 0] = generator.choice(settled, size=len(newcomers))
            overlay = replace(overlay, alive=np.ones(n, dtype=np.bool_))
        overlay = brahms_period(overlay, draw_brahms_period(overlay, generator, multiple=multiple))
        worst = np.maximum(worst, shares(overlay, settled))
    return overlay, worst


def shares(overlay, rows):
    """Shares of hostile entries in views and in samples of some peers."""
    return [overlay.hostile[part[rows][part[rows] >= 0]].mean() for part in (overlay.views, overlay.samples)]


def in_degrees(overlay):
    """In how many views and samples of honest peers each honest peer is."""
    honest = np.flatnonzero(overlay.honest)
    known = np.concatenate([overlay.views[honest], overlay.samples[honest]], axis=1)
    return np.bincount(known[known >= 0], minlength=len(overlay.views))[honest]


@pytest.mark.parametrize("multiple", [1, 10])
def test_a_fifth_of_the_members_never_has_more_than_its_share_of_views_and_samples(multiple):
    overlay, worst = attacked(400, 0.2, periods=40, multiple=multiple)
    assert worst.max() < 0.25
    assert max(shares(overlay, np.flatnonzero(overlay.honest))) < 0.2
    assert in_degrees(overlay).min() > 4


def test_peers_that_count_nothing_are_taken_over():
    """What the test above is worth: with a single counter all counts are alike."""
    overlay, worst = attacked(400, 0.2, periods=40, counters=1)
    assert worst.min() > 0.5
    assert in_degrees(overlay).min() < 4


def test_newcomers_come_to_know_no_more_hostile_members_than_there_are():
    """Each joins through one honest peer, in the middle of the attack."""
    newcomers = np.arange(20)
    overlay, _ = attacked(400, 0.1, periods=80, newcomers=newcomers, joining=30)
    assert max(shares(overlay, newcomers)) < 0.15
    assert in_degrees(overlay)[newcomers].min() > 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_fifth_of_ten_thousand_members_never_has_much_more_than_its_share():
    overlay, worst = attacked(10_000, 0.2, periods=160)
    assert worst[0] < 1.25 * 0.2
    assert worst[1] < 1.5 * 0.2
    assert max(shares(overlay, np.flatnonzero(overlay.honest))) < 1.1 * 0.2
    assert np.mean(in_degrees(overlay) == 0) < 0.001
