"""The view of others: bounded, never of oneself, healing, and hard to poison."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from gossipfl.network import Scope, parse_address
from gossipfl.peer.gossip.book import AddressBook, logger
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor
from tests.gossipfl.network.helpers import announced, identity_of

NAMES = ["Me", "Boot1", "Boot2", *(f"P{i}" for i in range(12))]


@functools.cache
def id_of(name):
    return identity_of(name).peer_id


OWN = announced(identity_of("Me"), "/ip4/10.0.0.1/tcp/1", sequence=5)
BOOTSTRAP = [
    PeerDescriptor(peer_id=id_of(f"Boot{i}"), addresses=(f"/ip4/10.0.1.{i}/tcp/1",), age=1) for i in (1, 2)
]


@functools.cache
def descriptor(name, *addresses, age=1, sequence=1):
    addresses = addresses or (f"/ip4/10.2.0.1/tcp/{7000 + len(name)}",)
    return announced(identity_of(name), *addresses, sequence=sequence, age=age)


def view(*, size=5, exchanged=4, bootstrap=BOOTSTRAP, failures=3, seed=0, outdo=lambda _: None):
    return AddressBook(
        own=lambda: OWN,
        settings=ViewSettings(size=size, exchanged=exchanged, failures=failures),
        generator=np.random.Generator(np.random.PCG64(seed)),
        bootstrap=bootstrap,
        outdo=outdo,
    )


def learn(known, *descriptors, teller="P2", scope=Scope.PRIVATE):
    known.learn(descriptors, teller=id_of(teller), scope=scope)


@pytest.fixture
def every_line(monkeypatch):
    """All lines of the log, which otherwise are limited in rate."""
    monkeypatch.setattr(logger, "filters", [])


def ids(of):
    return {peer.peer_id for peer in of.known}


def addresses(of, name):
    [found] = [peer.addresses for peer in of.known if peer.peer_id == id_of(name)]
    return tuple(map(str, found))


ADDRESSES = [
    "/ip4/10.9.9.9/tcp/4001",
    "/ip4/1.2.3.4/tcp/0",
    "/junk",
    "/ip4/999.1.1.1/tcp/5",
    "/dns4/x/tcp/1",
    "/dns4/a..b/tcp/1",
    "/ip6/fe80::1%a..b/tcp/1",
    "/ip4/127.0.0.1/tcp/22",
]
SIGNED = st.builds(
    lambda name, told, age, sequence: descriptor(name, *told, age=age, sequence=sequence),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2),
    st.sampled_from([0, 1, 2**63 - 1]),
    st.integers(0, 3),
)
FORGED = st.builds(
    replace,
    SIGNED,
    peer_id=st.sampled_from([*map(id_of, NAMES), "A", "12D3KooW"]),
    sequence=st.sampled_from([0, 2, 2**63 - 1]),
)
ACTIONS = st.one_of(
    st.tuples(
        st.just("learn"),
        st.lists(SIGNED | FORGED, max_size=20),
        st.sampled_from(NAMES),
        st.sampled_from(Scope),
    ),
    st.tuples(st.just("failed"), st.sampled_from(NAMES)),
    st.tuples(st.just("succeeded"), st.sampled_from(NAMES)),
    st.tuples(st.just("older")),
)


@profile(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.integers(1, 8), st.booleans())
def test_whatever_happens_the_view_stays_sound(actions, size, with_bootstrap):
    bootstrap = BOOTSTRAP if with_bootstrap else []
    known = view(size=size, exchanged=size, bootstrap=bootstrap)
    now = 0.0
    for action in actions:
        now += 0.1
        match action:
            case ("learn", descriptors, teller, scope):
                learn(known, *descriptors, teller=teller, scope=scope)
            case ("failed", who):
                known.failed(id_of(who), now=now)
            case ("succeeded", who):
                known.succeeded(id_of(who))
            case _:
                known.grow_older()
        assert len(known) <= max(size, len(bootstrap))
        assert id_of("Me") not in ids(known)
        assert {each.peer_id for each in bootstrap} <= ids(known)
        for peer in known.known:
            for each in peer.addresses:
                assert (
                    parse_address(str(each), smallest_port=1).scope >= peer.narrowest
                    or each in peer.configured
                )
        for each in bootstrap:
            [peer] = [peer for peer in known.known if peer.peer_id == each.peer_id]
            assert set(each.addresses) <= set(peer.addresses)
        told = known.tell()
        assert told[0] == OWN
        assert len(told) <= size
        assert len({each.peer_id for each in told}) == len(told)
        assert all(each.age >= 1 and each.signature for each in told[1:])
        chosen = known.choose(now=now, exclude={id_of("P1")})
        assert chosen is None or (chosen.peer_id != id_of("P1") and chosen.retry_at <= now)
        again = view(size=size, exchanged=size, bootstrap=bootstrap)
        again.restore(known.to_values())
        assert ids(again) <= ids(known)


def test_every_neighbour_is_chosen_equally_often():
    known = view(size=30, bootstrap=[])
    learn(known, *(descriptor(f"P{i}") for i in range(10)))
    counts = {id_of(f"P{i}"): 0 for i in range(10)}
    for _ in range(5_000):
        counts[known.choose(now=0).peer_id] += 1
    assert min(counts.values()) > 380  # 500 expected; less than 380 has probability below 1e-7
    assert max(counts.values()) < 620


def test_a_failing_peer_is_left_alone_twice_as_long_each_time_and_forgotten():
    known = view(bootstrap=[], failures=4)
    learn(known, descriptor("P1"))
    pauses = []
    now = 0.0
    for _ in range(3):
        known.failed(id_of("P1"), now=now)
        [peer] = known.known
        pauses.append(peer.retry_at - now)
        assert known.choose(now=peer.retry_at - 0.01) is None
        assert known.choose(now=peer.retry_at).peer_id == id_of("P1")
        assert known.tell() == (OWN,)  # nobody is sent to whom one cannot reach
        now = peer.retry_at
    assert pauses[1] == 2 * pauses[0]
    assert pauses[2] == 4 * pauses[0]
    known.failed(id_of("P1"), now=now)
    assert ids(known) == set()


def test_success_forgives():
    known = view(bootstrap=[])
    learn(known, descriptor("P1"))
    known.failed(id_of("P1"), now=0.0)
    known.failed(id_of("P1"), now=0.0)
    known.succeeded(id_of("P1"))
    assert known.choose(now=0.0).peer_id == id_of("P1")
    known.failed(id_of("P1"), now=0.0)
    assert ids(known) == {id_of("P1")}


def test_a_bootstrap_peer_is_tried_for_ever_and_soon():
    known = view()
    for _ in range(100):
        known.failed(id_of("Boot1"), now=0.0)
    [peer] = [peer for peer in known.known if peer.peer_id == id_of("Boot1")]
    assert peer.retry_at <= 4.0


def test_a_peer_that_moved_is_found_at_once():
    known = view(bootstrap=[])
    learn(known, descriptor("P1", "/ip4/10.0.0.5/tcp/5", age=3, sequence=1))
    known.failed(id_of("P1"), now=0.0)
    known.failed(id_of("P1"), now=0.0)
    learn(known, descriptor("P1", "/ip4/10.0.0.6/tcp/6", age=9, sequence=2), teller="P3")
    assert known.choose(now=0.0).peer_id == id_of("P1")
    assert addresses(known, "P1") == ("/ip4/10.0.0.6/tcp/6",)
    learn(known, descriptor("P1", "/ip4/10.0.0.5/tcp/5", age=0, sequence=1), teller="P3")  # old news
    assert addresses(known, "P1") == ("/ip4/10.0.0.6/tcp/6",)


FORGERIES = {
    "another address": lambda true: replace(true, addresses=("/ip4/10.6.6.6/tcp/6",), sequence=9),
    "a later sequence": lambda true: replace(true, sequence=9),
    "no signature": lambda true: replace(true, sequence=9, signature=bytes(64)),
    "the liar's own signature": lambda true: replace(
        announced(identity_of("Evil"), "/ip4/10.6.6.6/tcp/6", sequence=9), peer_id=true.peer_id
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("age", [0, 1])
def test_nobody_but_a_peer_moves_it(forgery, age):
    known = view(bootstrap=[])
    true = descriptor("P1", "/ip4/10.0.0.5/tcp/5", age=3)
    learn(known, true)
    learn(known, replace(forgery(true), age=age), teller="Evil")
    assert addresses(known, "P1") == ("/ip4/10.0.0.5/tcp/5",)
    assert known.known[0].descriptor.sequence == 1


@pytest.mark.parametrize("failures", [1, 3])
def test_hearsay_does_not_bring_a_dead_peer_back_but_its_own_word_does(failures):
    """Dead peers used to live on, each view bringing them back that had not noticed yet."""
    known = view(bootstrap=[], failures=3)
    learn(known, descriptor("P1", age=0), teller="P1")
    for _ in range(failures):
        known.failed(id_of("P1"), now=0.0)
    for _ in range(3):
        learn(known, descriptor("P1", age=0), teller="P2")
    assert known.choose(now=0.0) is None
    learn(known, descriptor("P1", age=4, sequence=2), teller="P2")  # it announced itself anew meanwhile
    assert (known.choose(now=0.0) is None) == (failures == 1)  # in a view: to be tried again in its time
    learn(known, descriptor("P1", age=0, sequence=2), teller="P1")
    assert known.choose(now=0.0).peer_id == id_of("P1")


@pytest.mark.usefixtures("every_line")
def test_an_entry_with_a_wrong_address_is_skipped_as_a_whole(caplog):
    known = view(bootstrap=[])
    wrong = [
        descriptor("P1", "/ip4/10.0.0.5/tcp/5", "/dns4/a..b/tcp/1"),
        descriptor("P2", "/ip6/fe80::1%a..b/tcp/1"),
    ]
    learn(known, *wrong, descriptor("P3"))
    assert ids(known) == {id_of("P3")}
    assert caplog.text.count("skipped an entry") == 2
    assert "a..b" in caplog.text


def test_hearsay_reaches_no_further_inward_than_its_teller():
    told = descriptor(
        "P1", "/ip4/127.0.0.1/tcp/22", "/ip4/192.168.0.1/tcp/80", "/ip4/9.9.9.9/tcp/5", "/dns4/x/tcp/1"
    )
    for scope, count in ((Scope.GLOBAL, 2), (Scope.PRIVATE, 3), (Scope.LINK, 3), (Scope.LOOPBACK, 4)):
        known = view(bootstrap=[])
        learn(known, told, scope=scope)
        [peer] = known.known
        assert len(peer.addresses) == count
        assert {each.narrowest for each in peer.addresses} == {scope}
        again = view(bootstrap=[])
        again.restore(known.to_values())
        assert again.known[0].addresses == peer.addresses


def test_a_poisoned_bootstrap_address_leaves_the_configured_one():
    known = view()
    learn(known, descriptor("Boot1", "/ip4/10.6.6.6/tcp/6"))
    assert BOOTSTRAP[0].addresses[0] in addresses(known, "Boot1")


def test_a_flood_of_inventions_neither_grows_the_view_nor_drives_out_who_answers():
    known = view(size=6, exchanged=6)
    for name in ("P1", "P2"):
        learn(known, descriptor(name, age=0), teller=name)
        known.succeeded(id_of(name))
    for wave in range(20):
        learn(known, *(descriptor(f"Fake{wave}x{i}", age=0) for i in range(10)), teller="Evil")
        assert len(known) == 6
    assert {id_of(name) for name in ("P1", "P2", "Boot1", "Boot2")} <= ids(known)


def test_a_peer_whose_clock_went_back_outdoes_what_others_know_of_it():
    outdone = []
    known = view(outdo=outdone.append)
    learn(known, announced(identity_of("Me"), "/ip4/10.0.0.9/tcp/1", sequence=4))
    assert not outdone
    learn(known, replace(OWN, sequence=99))  # not signed
    assert not outdone
    learn(known, announced(identity_of("Me"), "/ip4/10.0.0.9/tcp/1", sequence=99))
    assert outdone == [99]


def test_a_view_survives_a_restart():
    known = view(size=10)
    learn(known, descriptor("P1"), descriptor("P2", age=5), teller="P1")
    again = view(size=10)
    again.restore(known.to_values())
    assert [{**each, "age": 0} for each in again.to_values()] == [
        {**each, "age": 0} for each in known.to_values()
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"addresses": ["/dns4/a..b/tcp/1"]},
        {"addresses": None},
        {"age": "old"},
        {"signature": "no hex"},
        {"signature": "00" * 64},
        {"sequence": None},
        {"sequence": -1},
        {"sequence": 2**64},
        {"addresses": ["/dns4/bücher/tcp/1"]},
        {"scope": 77},
        {"peer_id": "nobody"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("every_line")
def test_a_bad_entry_of_a_checkpoint_is_skipped(damage, caplog):
    known = view()
    learn(known, descriptor("P1"), descriptor("P2"))
    first, second = known.to_values()
    again = view()
    again.restore([{**first, **damage}, second, {}])
    assert ids(again) - {each.peer_id for each in BOOTSTRAP} == {id_of("P2")}
    assert "skipped an " in caplog.text
