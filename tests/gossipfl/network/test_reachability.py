"""Addresses that a host announces: those of its interfaces as they are now, and what neighbours agree on."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.network import parse_address, scope_of
from gossipfl.network.announcing import Announcer
from gossipfl.network.reachability import Reachability, interface_addresses
from gossipfl.wire import is_signed

from .helpers import identity_of, in_trio, model_frame, serving_host, until

LAN, VPN, WORLD, LOOP = "192.168.1.5", "10.8.0.2", "203.0.113.9", "127.0.0.1"
HOME_WORLD = "9.9.9.9"


def reached(listen, interfaces, *, announced=(), seen=()):
    found = Reachability(
        [parse_address(each) for each in listen],
        announced=[parse_address(each) for each in announced],
        interfaces=lambda: tuple(interfaces),
    )
    for host, observer, observer_host in seen:
        found.observed(host, observer=observer, observer_host=observer_host)
    return [str(each) for each in found.addresses()]


@pytest.mark.parametrize(
    ("listen", "interfaces", "announced"),
    [
        # All interfaces, the widest first: LANs and VPNs used to hear of one alone, or of the loopback.
        ("/ip4/0.0.0.0/tcp/4", [LOOP, LAN, HOME_WORLD, VPN], [HOME_WORLD, LAN, VPN]),
        ("/ip4/0.0.0.0/tcp/4", [LOOP, "fd00::1"], [LOOP]),
        ("/ip6/::/tcp/4", ["::1", LOOP, "fd00::1", "2001:4860::1"], ["2001:4860::1", "fd00::1"]),
        ("/ip6/::/tcp/4", ["::1", LOOP], ["::1"]),
        ("/ip4/127.0.0.1/tcp/4", [LOOP, LAN], [LOOP]),
        ("/ip4/192.168.1.5/tcp/4", [LOOP, LAN, HOME_WORLD], [LAN]),
        ("/dns4/peer.example/tcp/4", [LOOP], ["peer.example"]),
    ],
)
def test_what_is_announced(listen, interfaces, announced):
    assert [each.split("/")[2] for each in reached([listen], interfaces)] == announced


def test_both_families_are_announced_and_the_loopback_of_one_is_not():
    both = ["/ip4/0.0.0.0/tcp/4", "/ip6/::/tcp/5"]
    assert reached(both, [LOOP, "::1", LAN]) == [f"/ip4/{LAN}/tcp/4"]
    assert reached(both, [LOOP, "::1", LAN, "fd00::1"]) == [f"/ip4/{LAN}/tcp/4", "/ip6/fd00::1/tcp/5"]


def test_settings_replace_everything():
    settings = ["/dns4/router.example/tcp/9"]
    assert reached(["/ip4/0.0.0.0/tcp/4"], [LAN], announced=settings) == settings


@given(
    st.lists(st.sampled_from(["/ip4/0.0.0.0/tcp/4", "/ip6/::/tcp/4", "/ip4/127.0.0.1/tcp/4"]), min_size=1),
    st.lists(st.ip_addresses().map(str), max_size=12),
    st.lists(st.tuples(st.ip_addresses().map(str), st.sampled_from("abc"), st.ip_addresses().map(str))),
)
def test_never_anywhere_never_port_0_never_more_than_a_view_holds(listen, interfaces, seen):
    interfaces = [each for each in interfaces if scope_of(each)]
    announced = reached(listen, interfaces, seen=seen)
    assert len(announced) <= 8
    for each in announced:
        address = parse_address(each, smallest_port=1)
        assert address.host not in ("0.0.0.0", "::")


def test_the_interfaces_of_this_machine():
    assert LOOP in interface_addresses()
    assert all(scope_of(each) and "%" not in each for each in interface_addresses())


NAT = [("8.8.8.8", "p1", "1.1.1.1"), ("8.8.8.8", "p2", "9.1.1.1")]


def test_what_neighbours_elsewhere_agree_on_is_announced_too():
    behind_router = ["/ip4/0.0.0.0/tcp/4"]
    assert reached(behind_router, [LAN], seen=NAT) == ["/ip4/8.8.8.8/tcp/4", f"/ip4/{LAN}/tcp/4"]


@pytest.mark.parametrize(
    "seen",
    [
        NAT[:1],  # one alone may lie
        [NAT[0], ("8.8.8.8", "p2", "1.1.1.2")],  # two of one network may be one
        [NAT[0], (NAT[1][0], "p1", "9.1.1.1")],  # one that moved is still one
        [(LOOP, "p1", "1.1.1.1"), (LOOP, "p2", "9.1.1.1")],  # nobody out there sees a loopback address
        [("8.8.8.8", "p1", "10.0.0.1"), ("8.8.8.8", "p2", "10.0.1.1")],  # nor does a LAN see the world's
        [("nonsense", "p1", "1.1.1.1"), ("nonsense", "p2", "9.1.1.1")],
    ],
    ids=str,
)
def test_what_may_be_a_lie_is_not_announced(seen):
    assert reached(["/ip4/0.0.0.0/tcp/4"], [LAN], seen=seen) == [f"/ip4/{LAN}/tcp/4"]


def test_liars_of_two_networks_do_not_crowd_out_where_others_reach_it():
    """Eight such addresses took the place of the LAN's, so that LANs no longer meshed."""
    lies = [
        (f"8.8.{number}.8", f"{network}-{number}", f"{network}.1.1.1")
        for number in range(1, 20)
        for network in (1, 9)
    ]
    honest = [("8.8.8.8", f"p{network}", f"{network}.1.1.1") for network in (1, 9, 14)]
    addresses = reached(["/ip4/0.0.0.0/tcp/4"], [LAN, VPN], seen=[*honest, *lies])
    assert {f"/ip4/{each}/tcp/4" for each in (LAN, VPN, "8.8.8.8")} <= set(addresses)
    assert len(addresses) == 4


def test_what_was_observed_long_ago_is_announced_no_longer():
    now = [0.0]
    found = Reachability(
        [parse_address("/ip4/0.0.0.0/tcp/4")], interfaces=lambda: (LAN,), clock=lambda: now[0]
    )
    for observer, host in (("A", "8.8.8.8"), ("B", "1.1.1.1")):
        found.observed(HOME_WORLD, observer=observer, observer_host=host)
    assert HOME_WORLD in str(found.addresses())
    now[0] = 700.0
    assert HOME_WORLD not in str(found.addresses())


def test_nothing_reachable_is_said(caplog):
    reached(["/ip4/0.0.0.0/tcp/4"], [LOOP, "::1"])
    assert "other machines, but they cannot dial it" in caplog.text
    caplog.clear()
    reached(["/ip4/127.0.0.1/tcp/4"], [LOOP])
    reached(["/ip4/0.0.0.0/tcp/4"], [LOOP, LAN])
    assert not caplog.text


def test_an_announcement_is_renewed_when_addresses_change_or_it_grows_old():
    identity, now, where = identity_of("a"), [1000.0], ["/ip4/10.0.0.1/tcp/1"]
    announcer = Announcer(identity=identity, addresses=lambda: tuple(where), clock=lambda: now[0])
    first = announcer.announcement()
    assert announcer.announcement() is first
    where[0] = "/ip4/10.0.0.2/tcp/1"
    moved = announcer.announcement()
    assert moved.addresses == ("/ip4/10.0.0.2/tcp/1",)
    now[0] -= 500  # the clock goes back
    later = announcer.announcement()
    announcer.outdo(10**12)
    outdone = announcer.announcement()
    assert first.sequence < moved.sequence < later.sequence < outdone.sequence == 10**12 + 1
    assert all(map(is_signed, (first, moved, later, outdone)))
    announcer.outdo(2**63 - 1)  # a copy of this peer gone mad: there is no higher number to write
    assert announcer.announcement() is outdone


@in_trio
async def test_a_running_host_whose_address_changes_announces_the_new_one(monkeypatch):
    monkeypatch.setattr("gossipfl.network.reachability._REFRESH_SECONDS", 0.05)
    async with serving_host(listen=["/ip4/0.0.0.0/tcp/0"]) as host:
        before = host.announcement()
        assert "/tcp/0" not in str(before.addresses)
        host.reachability.interfaces = lambda: (LOOP, VPN)
        await until(lambda: VPN in host.addresses[0])
        after = host.announcement()
        assert after.sequence > before.sequence
        assert after.addresses == host.addresses


@in_trio
async def test_a_host_that_listens_everywhere_is_reached_at_all_it_announces():
    async with serving_host(listen=["/ip4/0.0.0.0/tcp/0"]) as host:
        for address in host.addresses:
            async with serving_host() as client:
                with trio.fail_after(10):
                    await client.exchange(host.peer_id, [address], model_frame())
                assert host.remote_address(client.peer_id)
