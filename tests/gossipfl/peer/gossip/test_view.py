"""The view of others: bounded, never of oneself, healing, and hard to poison."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from gossipfl.peer.gossip.view import RandomView
from gossipfl.settings import ViewSettings
from gossipfl.wire import PeerDescriptor

OWN = PeerDescriptor(peer_id="Me", addresses=("/ip4/10.0.0.1/tcp/1",))
BOOTSTRAP = [PeerDescriptor(peer_id=f"Boot{i}", addresses=(f"/ip4/10.0.1.{i}/tcp/1",), age=1) for i in (1, 2)]
NAMES = ["Me", "Boot1", "Boot2", *(f"P{i}" for i in range(12))]


def descriptor(peer_id, *, age=1, addresses=None):
    return PeerDescriptor(
        peer_id=peer_id, addresses=addresses or (f"/ip4/10.2.0.1/tcp/{7000 + len(peer_id)}",), age=age
    )


def view(*, size=5, exchanged=4, bootstrap=BOOTSTRAP, failures=3, seed=0):
    return RandomView(
        own=lambda: OWN,
        settings=ViewSettings(size=size, exchanged=exchanged, failures=failures),
        generator=np.random.Generator(np.random.PCG64(seed)),
        bootstrap=bootstrap,
    )


def ids(of):
    return {peer.peer_id for peer in of.known}


DESCRIPTORS = st.builds(
    PeerDescriptor,
    peer_id=st.sampled_from(NAMES),
    addresses=st.lists(
        st.sampled_from(
            ["/ip4/10.9.9.9/tcp/4001", "/ip4/1.2.3.4/tcp/0", "/junk", "/ip4/999.1.1.1/tcp/5", "/dns4/x/tcp/1"]
        ),
        max_size=4,
    ).map(tuple),
    age=st.integers(0, 2**63 - 1),
)
ACTIONS = st.one_of(
    st.tuples(st.just("learn"), st.lists(DESCRIPTORS, max_size=64), st.sampled_from(NAMES)),
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
            case ("learn", descriptors, teller):
                known.learn(descriptors, teller=teller)
            case ("failed", who):
                known.failed(who, now=now)
            case ("succeeded", who):
                known.succeeded(who)
            case _:
                known.grow_older()
        assert len(known) <= max(size, len(bootstrap))
        assert "Me" not in ids(known)
        assert {each.peer_id for each in bootstrap} <= ids(known)
        for peer in known.known:
            assert peer.addresses
            assert all("/tcp/0" not in each and "junk" not in each for each in peer.addresses)
        for each in bootstrap:
            [peer] = [peer for peer in known.known if peer.peer_id == each.peer_id]
            assert set(each.addresses) <= set(peer.addresses)
        told = known.tell()
        assert told[0] == OWN
        assert len(told) <= size
        assert len({each.peer_id for each in told}) == len(told)
        assert all(each.age >= 1 for each in told[1:])
        chosen = known.choose(now=now, exclude={"P1"})
        assert chosen is None or (chosen.peer_id not in ("Me", "P1") and chosen.retry_at <= now)


def test_every_neighbour_is_chosen_equally_often():
    known = view(size=30, bootstrap=[])
    known.learn([descriptor(f"P{i}") for i in range(10)], teller="P0")
    counts = {f"P{i}": 0 for i in range(10)}
    for _ in range(5_000):
        counts[known.choose(now=0).peer_id] += 1
    assert min(counts.values()) > 380  # 500 expected; less than 380 has probability below 1e-7
    assert max(counts.values()) < 620


def test_a_failing_peer_is_left_alone_twice_as_long_each_time_and_forgotten():
    known = view(bootstrap=[], failures=4)
    known.learn([descriptor("P1")], teller="P2")
    pauses = []
    now = 0.0
    for _ in range(3):
        known.failed("P1", now=now)
        [peer] = known.known
        pauses.append(peer.retry_at - now)
        assert known.choose(now=peer.retry_at - 0.01) is None
        assert known.choose(now=peer.retry_at).peer_id == "P1"
        assert known.tell() == (OWN,)  # nobody is sent to whom one cannot reach
        now = peer.retry_at
    assert pauses[1] == 2 * pauses[0]
    assert pauses[2] == 4 * pauses[0]
    known.failed("P1", now=now)
    assert ids(known) == set()


def test_success_forgives():
    known = view(bootstrap=[])
    known.learn([descriptor("P1")], teller="P2")
    known.failed("P1", now=0.0)
    known.failed("P1", now=0.0)
    known.succeeded("P1")
    assert known.choose(now=0.0).peer_id == "P1"
    known.failed("P1", now=0.0)
    assert ids(known) == {"P1"}


def test_a_bootstrap_peer_is_tried_for_ever_and_soon():
    known = view()
    for _ in range(100):
        known.failed("Boot1", now=0.0)
    [peer] = [peer for peer in known.known if peer.peer_id == "Boot1"]
    assert peer.retry_at <= 4.0


def test_a_peer_that_moved_is_found_at_once():
    known = view(bootstrap=[])
    known.learn([descriptor("P1", age=3, addresses=("/ip4/10.0.0.5/tcp/5",))], teller="P2")
    known.failed("P1", now=0.0)
    known.failed("P1", now=0.0)
    known.learn([descriptor("P1", age=0, addresses=("/ip4/10.0.0.6/tcp/6",))], teller="P1")
    chosen = known.choose(now=0.0)
    assert chosen.addresses[0] == "/ip4/10.0.0.6/tcp/6"
    known.learn([descriptor("P1", age=9, addresses=("/ip4/10.0.0.5/tcp/5",))], teller="P3")  # old news
    assert known.choose(now=0.0).addresses[0] == "/ip4/10.0.0.6/tcp/6"


@pytest.mark.parametrize("age", [0, 1])
def test_hearsay_does_not_move_a_peer_that_answers_where_it_is(age):
    """Age 0 is a peer's word about itself: of somebody else it is a lie, and counts as hearsay."""
    known = view(bootstrap=[])
    known.learn([descriptor("P1", age=0, addresses=("/ip4/10.0.0.5/tcp/5",))], teller="P1")
    known.succeeded("P1")
    known.learn([descriptor("P1", age=age, addresses=("/ip4/6.6.6.6/tcp/6",))], teller="Evil")
    assert known.choose(now=0.0).addresses == ("/ip4/10.0.0.5/tcp/5",)


def test_hearsay_does_not_bring_a_dead_peer_back_to_the_front():
    known = view(bootstrap=[])
    known.learn([descriptor("P1", age=0)], teller="P1")
    known.failed("P1", now=0.0)
    for _ in range(3):
        known.learn([descriptor("P1", age=0)], teller="Evil")
    assert known.choose(now=0.0) is None


def test_a_poisoned_bootstrap_address_leaves_the_configured_one():
    known = view()
    known.learn([descriptor("Boot1", age=0, addresses=("/ip4/6.6.6.6/tcp/6",))], teller="Evil")
    [peer] = [peer for peer in known.known if peer.peer_id == "Boot1"]
    assert BOOTSTRAP[0].addresses[0] in peer.addresses


def test_a_flood_of_inventions_neither_grows_the_view_nor_drives_out_who_answers():
    known = view(size=6, exchanged=6)
    for name in ("P1", "P2"):
        known.learn([descriptor(name, age=0)], teller=name)
        known.succeeded(name)
    for wave in range(50):
        known.learn([descriptor(f"Fake{wave}x{i}", age=0) for i in range(64)], teller="Evil")
        assert len(known) == 6
    assert {"P1", "P2", "Boot1", "Boot2"} <= ids(known)


def test_a_view_survives_a_restart():
    known = view(size=10)
    known.learn([descriptor("P1"), descriptor("P2", age=5)], teller="P1")
    again = view(size=10)
    again.restore(known.to_values())
    assert again.to_values() == known.to_values()
