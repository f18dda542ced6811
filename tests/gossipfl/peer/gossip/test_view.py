"""The view of a peer: who becomes a neighbour, and what liars do not get."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from gossipfl.network import Scope
from gossipfl.peer.gossip.acquaintances import Acquaintances
from gossipfl.peer.gossip.known_peer import KnownPeer
from gossipfl.peer.gossip.view import SampledView
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor
from tests.gossipfl.network.helpers import announced, identity_of

from .test_book import BOOTSTRAP, FORGED, NAMES, OWN, SIGNED, descriptor, id_of


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


def make(*, size=10, exchanged=4, bootstrap=(), failures=3, seed=0, path=None, clock=None):
    generator = np.random.default_rng(seed)
    acquaintances = Acquaintances(generator=generator, first_pause=30.0, path=path, clock=clock or Clock())
    acquaintances.load()
    return SampledView(
        own=lambda: OWN,
        settings=ViewSettings(size=size, exchanged=exchanged, failures=failures),
        generator=generator,
        bootstrap=bootstrap,
        acquaintances=acquaintances,
    )


def push(view, *names):
    for name in names:
        view.asked_by(id_of(name), [descriptor(name)], scope=Scope.PRIVATE)


def answer(view, name, *told, now=0.0):
    view.answered_by(id_of(name), [descriptor(name), *told], scope=Scope.PRIVATE, now=now)


def ids(peers):
    return {peer.peer_id for peer in peers}


def with_neighbours(*names, **options):
    view = make(**options)
    for name in names:
        answer(view, name)
        view.tick()
    assert view.neighbours == set(map(id_of, names))
    return view


def test_who_pushes_itself_is_a_neighbour_after_the_next_tick():
    view = make()
    push(view, "P1")
    assert not view.neighbours
    assert view.wants_to_tick
    view.tick()
    assert view.neighbours == {id_of("P1")}
    assert view.choose(now=0.0).peer_id == id_of("P1")


def test_what_is_told_unasked_is_not_read():
    view = make()
    view.asked_by(id_of("P1"), [descriptor("P1"), descriptor("P2")], scope=Scope.PRIVATE)
    answer(view, "P1", descriptor("P3"))  # it was not asked for names
    asked = ids(view.tick()) | ids(view.tick())
    assert view.neighbours == {id_of("P1")}
    assert asked == {id_of("P1")}


def test_names_of_an_answer_are_asked_and_count_once_they_answer():
    view = with_neighbours("P1")
    view.tick()
    answer(view, "P1", descriptor("P2"), descriptor("P3"))
    assert {id_of("P2"), id_of("P3")} <= ids(view.tick())
    assert view.neighbours == {id_of("P1")}
    answer(view, "P2")
    view.failed(id_of("P3"), now=0.0)
    view.tick()
    assert view.neighbours == {id_of("P1"), id_of("P2")}


def test_a_name_that_did_not_answer_is_not_believed_again_for_a_while_twice_as_long_each_time():
    view = with_neighbours("P1")
    now, waits = 0.0, []
    for sequence in range(1, 5):
        start = now
        while True:
            view.tick()
            answer(view, "P1", descriptor("Fake", sequence=sequence), now=now)
            if id_of("Fake") in ids(view.tick()):
                break
            now += 1.0
        waits.append(now - start)
        view.failed(id_of("Fake"), now=now)
    assert waits[1:] == [10.0, 20.0, 40.0]


def test_a_flood_of_names_asks_a_bounded_number_each_period_and_costs_no_neighbour():
    view = with_neighbours("P1", "P2", "P3")
    for wave in range(50):
        view.tick()
        for name in ("P1", "P2", "P3"):
            answer(view, name, *(descriptor(f"Fake{wave % 7}{i}", sequence=wave + 1) for i in range(40)))
        asked = view.tick()
        assert len(asked) <= 2 + 4 + 1
        for peer in asked:
            if peer.peer_id not in view.neighbours:
                view.failed(peer.peer_id, now=float(wave))
    assert view.neighbours == {id_of("P1"), id_of("P2"), id_of("P3")}
    assert len(view.book) <= 10 + 3


def test_a_neighbour_that_fails_is_an_acquaintance_that_has_gone_and_comes_back_with_its_own_word():
    clock = Clock()
    view = with_neighbours("P1", "P2", "P3", clock=clock)
    for _ in range(3):
        view.failed(id_of("P1"), now=0.0)
    assert view.neighbours == {id_of("P2"), id_of("P3")}
    assert view.due(()) is None
    clock.now += 60
    assert view.due(()).peer_id == id_of("P1")
    assert view.due({id_of("P1")}) is None
    answer(view, "P1")
    view.tick()
    assert id_of("P1") in view.neighbours
    assert view.due(()) is None


def test_the_gone_are_tried_ever_more_rarely_for_weeks():
    clock = Clock()
    view = with_neighbours("P1", "P2", "P3", clock=clock)
    for _ in range(3):
        view.failed(id_of("P1"), now=0.0)
    start, tries = clock.now, []
    while clock.now < start + 21 * 86_400:
        if (gone := view.due(())) is not None:
            tries.append(clock.now - start)
            view.failed(gone.peer_id, now=clock.now)
        clock.now += 10
    pauses = np.diff(tries)
    assert pauses[0] < 90
    assert np.median(pauses[-20:]) > 4 * 3600
    assert max(pauses) <= 1.75 * 6 * 3600 + 10
    assert len(set(pauses[-20:])) > 10  # at random times, so that not all come back in step
    assert 60 < len(tries) < 130


def test_whoever_was_lost_together_is_tried_as_soon_as_one_is_back():
    clock = Clock()
    view = with_neighbours("P1", "P2", "P3", "P4", "P5", "P6", clock=clock, size=16)
    lost = [id_of(name) for name in ("P1", "P2", "P3", "P4")]
    clock.now += 300
    answer(view, "P4")  # lost later than the others
    end = clock.now + 3600
    for peer_id in lost:
        for _ in range(3):
            view.failed(peer_id, now=0.0)
    while clock.now < end:
        clock.now += 1
        if (gone := view.due(())) is not None:
            view.failed(gone.peer_id, now=0.0)
    due = {peer_id: each.try_at for peer_id, each in view.acquaintances._all.items()}
    assert min(due[peer_id] for peer_id in lost) > clock.now
    answer(view, "P1")
    back = {peer_id: each.try_at for peer_id, each in view.acquaintances._all.items()}
    assert all(back[peer_id] <= min(due[peer_id], clock.now + 30) for peer_id in lost[:3])
    assert back[lost[3]] == due[lost[3]]


@pytest.mark.parametrize("outage", [600.0, 3600.0])
def test_the_first_of_two_halves_to_try_again_does_so_long_before_each_one_would(outage):
    """Pauses in step left halves parted for a third of the time again."""
    waits = []
    for seed in range(20):
        generator, clock = np.random.default_rng(seed), Clock()
        view = with_neighbours("P1", clock=clock)
        [peer] = view.known
        firsts = []
        for _ in range(32):  # four peers each, which all know all
            clock.now = 0.0
            acquaintances = Acquaintances(generator=generator, first_pause=30.0, clock=clock)
            acquaintances.met(peer)
            while clock.now < outage:
                acquaintances.failed(peer.peer_id, alone=False)
                clock.now = acquaintances._all[peer.peer_id].try_at
            firsts.append(clock.now - outage)
        waits.append(min(firsts))
    assert np.mean(waits) < 0.1 * outage


def test_alone_everybody_ever_met_is_tried():
    view = with_neighbours("P1", "P2")
    assert len(view.acquaintances) == 2
    for name in ("P1", "P2"):
        for _ in range(3):
            view.failed(id_of(name), now=0.0)
    assert not view.neighbours
    view.acquaintances.clock.now += 60
    tried = set()
    while (peer := view.due(tried)) is not None:
        tried.add(peer.peer_id)
    assert tried == {id_of("P1"), id_of("P2")}


def test_a_peer_that_settings_name_is_tried_at_once_soon_again_and_for_ever():
    clock = Clock()
    view = make(bootstrap=BOOTSTRAP, clock=clock)
    for _ in range(200):
        peer = view.due(())
        assert peer is not None
        view.failed(peer.peer_id, now=clock.now)
        clock.now += 5.0
    assert view.choose(now=clock.now).peer_id in {each.peer_id for each in BOOTSTRAP}


def test_peers_that_settings_name_and_are_down_do_not_keep_it_from_those_it_met():
    """Each occupies a place until its deadline, so forty of them are always due again."""
    clock = Clock()
    view = with_neighbours("P1", clock=clock)
    view.configure({id_of(f"Down{number}"): (f"/ip4/192.0.2.{number}/tcp/9",) for number in range(1, 41)})
    for _ in range(3):
        view.failed(id_of("P1"), now=clock.now)
    tried = []
    for _ in range(250):
        clock.now += 1.0
        if (peer := view.due(())) is not None:
            tried.append(peer.peer_id)
            view.failed(peer.peer_id, now=clock.now)
    assert 2 <= tried.count(id_of("P1")) < 10
    assert len(set(tried)) == 41


def test_who_announces_many_networks_from_one_does_not_push_out_those_it_met():
    clock = Clock()
    met = Acquaintances(generator=np.random.default_rng(0), first_pause=30.0, clock=clock)
    for number in range(900):
        clock.now += 1.0
        met.met(met_at(f"honest-{number}", number), network=f"10.{number // 256}.{number % 256}.0/24")
    for number in range(2_000):
        clock.now += 1.0
        met.met(met_at(f"liar-{number}", number), network="203.0.113.0/24")
    assert len(met) == 1_024
    assert all(f"honest-{number}" in met for number in range(900))


def met_at(name, number):
    address = f"/ip4/198.{18 + number // 256}.{number % 256}.1/tcp/9"
    return KnownPeer(descriptor=PeerDescriptor(peer_id=name, addresses=(address,)))


def test_peers_named_while_running_are_tried_and_those_named_no_longer_are_not():
    view = make()
    assert view.due(()) is None
    view.configure({id_of("Boot1"): BOOTSTRAP[0].addresses})
    assert view.due(()).peer_id == id_of("Boot1")
    view.configure({})
    assert view.due(()) is None


def test_what_was_met_survives_a_restart(tmp_path):
    path, clock = tmp_path / "met.json", Clock()
    view = with_neighbours("P1", "P2", "P3", path=path, clock=clock)
    for _ in range(3):
        view.failed(id_of("P1"), now=0.0)
    view.acquaintances._save(view.acquaintances.to_values())
    again = make(path=path, clock=clock)
    assert len(again.acquaintances) == 3
    tried = set()
    clock.now += 60
    while (peer := again.due(tried)) is not None:
        tried.add(peer.peer_id)
        assert tuple(map(str, peer.addresses)) == descriptor("P1").addresses
    assert tried == {id_of("P1"), id_of("P2"), id_of("P3")}
    clock.now += 9 * 7 * 86_400
    assert again.acquaintances.to_values() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"peers": 7}', b'{"peers": [{}, 7, null]}', b"\xff"])
def test_a_damaged_file_of_acquaintances_is_passed_over(content, tmp_path):
    path = tmp_path / "met.json"
    path.write_bytes(content)
    assert not len(make(path=path).acquaintances)


def test_a_forged_entry_of_the_file_is_passed_over(tmp_path):
    path = tmp_path / "met.json"
    view = with_neighbours("P1", path=path)
    [values] = view.acquaintances.to_values()
    view.acquaintances._save([{**values, "addresses": ["/ip4/6.6.6.6/tcp/6"]}])
    assert not len(make(path=path).acquaintances)


def test_acquaintances_are_bounded_and_a_crowded_network_makes_room():
    acquaintances = Acquaintances(generator=np.random.default_rng(0), first_pause=30.0, clock=Clock())
    view = with_neighbours("P1")
    [honest] = view.known
    acquaintances.met(honest)
    for i in range(1100):
        crowd = PeerDescriptor(
            peer_id=f"fake{i}", addresses=(f"/ip4/66.6.6.{i % 250}/tcp/1",), signature=b"x" * 64
        )
        acquaintances.met(replace(honest, descriptor=crowd))
    assert len(acquaintances) == 1024
    assert honest.peer_id in acquaintances


def test_neighbours_survive_a_restart_as_names_to_be_asked():
    view = with_neighbours("P1", "P2")
    again = make()
    again.restore(view.to_values())
    assert not again.neighbours
    assert ids(again.tick()) == {id_of("P1"), id_of("P2")}


def test_after_a_restart_models_are_exchanged_with_former_neighbours_until_one_of_them_answers():
    view = with_neighbours("P1", "P2")
    again = make(bootstrap=BOOTSTRAP)
    again.restore(view.to_values())
    chosen = {again.choose(now=0.0).peer_id for _ in range(50)}
    assert chosen == {*(each.peer_id for each in BOOTSTRAP), id_of("P1"), id_of("P2")}
    again.failed(id_of("P1"), now=0.0)
    assert id_of("P1") not in {again.choose(now=0.0).peer_id for _ in range(50)}
    answer(again, "P2", descriptor("P3"))
    again.tick()
    assert {again.choose(now=0.0).peer_id for _ in range(50)} == {id_of("P2")}  # and not hearsay


def test_an_answer_holds_oneself_and_only_neighbours_that_have_not_failed():
    view = with_neighbours("P1", "P2", "P3")
    view.failed(id_of("P2"), now=0.0)
    told = view.asked_by(id_of("P9"), [descriptor("P9")], scope=Scope.PRIVATE)
    assert told[0] == OWN
    assert {each.peer_id for each in told[1:]} == {id_of("P1"), id_of("P3")}
    assert view.own_word() == (OWN,)


def test_a_newer_announcement_moves_a_neighbour_and_is_passed_on():
    view = with_neighbours("P1")
    moved = announced(identity_of("P1"), "/ip4/10.7.7.7/tcp/7", sequence=9)
    view.asked_by(id_of("P1"), [moved], scope=Scope.PRIVATE)
    [known] = view.known
    assert tuple(map(str, known.addresses)) == ("/ip4/10.7.7.7/tcp/7",)
    told = view.asked_by(id_of("P2"), [descriptor("P2")], scope=Scope.PRIVATE)
    assert told[1].addresses == ("/ip4/10.7.7.7/tcp/7",)


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["asked", "answered"]), st.lists(SIGNED | FORGED, max_size=12)),
    st.tuples(st.sampled_from(["failed", "tick", "succeeded"]), st.none()),
)


@profile(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), EVENTS), max_size=40), st.integers(1, 8))
def test_whatever_happens_the_view_stays_sound(events, size):
    view = make(size=size, exchanged=size, bootstrap=BOOTSTRAP)
    spoke = set()
    for now, (name, (event, told)) in enumerate(events):
        peer_id = id_of(name)
        if event in ("asked", "answered"):
            spoke.add(peer_id)
        match event:
            case "asked":
                answer = view.asked_by(peer_id, told, scope=Scope.PRIVATE)
                assert answer[0] == OWN
                assert len(answer) <= size
            case "answered":
                view.answered_by(peer_id, told, scope=Scope.LOOPBACK, now=float(now))
            case "failed":
                view.failed(peer_id, now=float(now))
            case "succeeded":
                view.succeeded(peer_id)
                spoke.add(peer_id)
            case _:
                assert len({each.peer_id for each in view.tick()}) <= 5
        assert view.neighbours <= spoke - {OWN.peer_id}
        assert len(view.known) <= max(size, 2)
        assert len(view.book) <= 2 * size + len(BOOTSTRAP) + 4
        chosen = view.choose(now=float(now))
        assert chosen is None or chosen.retry_at <= now
