"""Addresses and peer ids: what could not be dialled, or not only, is refused when it is read."""

import socket

import base58
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from gossipfl.errors import InvalidAddress
from gossipfl.network import Identity, parse_address
from gossipfl.settings.addresses import (
    Scope,
    peer_id_of,
    public_key_of,
    scope_of,
)

PEER = "12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV"
OTHER = Identity(bytes(32)).peer_id


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/0.0.0.0/tcp/65535",
        f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}",
        f"/ip6/::1/tcp/1/p2p/{PEER}",
        "/dns4/peer.example/tcp/4001",
    ],
)
def test_what_the_network_takes_is_taken(address):
    parse_address(address, smallest_port=1)
    assert str(parse_address(address)) == address


@pytest.mark.parametrize("place", ["/ip4/9.9.9.9/tcp/4001", "/ip6/::1/tcp/1", "/dns4/peer.example/tcp/4001"])
@pytest.mark.parametrize("end", ["", f"/p2p/{OTHER}"])
def test_an_address_may_lead_through_one_relay_where_circuits_can_be_opened(place, end):
    address = f"{place}/p2p/{PEER}/p2p-circuit{end}"
    parsed = parse_address(address, smallest_port=1, circuits=True)
    assert (str(parsed), parsed.relay, parsed.peer_id) == (address, PEER, end[5:] or None)
    assert parsed.scope == parse_address(place).scope
    with pytest.raises(InvalidAddress):
        parse_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/9.9.9.9/tcp/4001/p2p-circuit",
        f"/ip4/9.9.9.9/tcp/4001/p2p-circuit/p2p/{PEER}",
        f"/p2p/{PEER}/p2p-circuit/p2p/{OTHER}",
        f"/ip4/9.9.9.9/tcp/0/p2p/{PEER}/p2p-circuit",
        f"/ip4/9.9.9.9/tcp/4001/p2p/{PEER}/p2p-circuit/p2p/alice",
        f"/ip4/9.9.9.9/tcp/4001/p2p/{PEER}/p2p-circuit/p2p-circuit",
        f"/ip4/9.9.9.9/tcp/4001/p2p/{PEER}/p2p-circuit/p2p/{OTHER}/p2p-circuit/p2p/{PEER}",
        f"/ip4/9.9.9.9/tcp/4001/p2p/{PEER}/p2p-circuit/ip4/8.8.8.8/tcp/4001",
    ],
)
def test_an_address_that_leads_through_no_relay_or_several_is_refused(address):
    with pytest.raises(InvalidAddress):
        parse_address(address, circuits=True)


def test_the_operating_system_may_choose_where_one_listens_only():
    parse_address("/ip4/127.0.0.1/tcp/0", smallest_port=0)
    with pytest.raises(ValueError, match=r"the port must be 1 … 65535, not '0'"):
        parse_address("/ip4/127.0.0.1/tcp/0", smallest_port=1)


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("", "is not an address of a peer"),
        ("127.0.0.1:4001", "is not an address of a peer"),
        ("ip4/127.0.0.1/tcp/4001", "is not an address of a peer"),
        ("/ip4/127.0.0.1/udp/4001", "is not an address of a peer"),
        ("/ip4/127.0.0.1/tcp/4001/", "is not an address of a peer"),
        (f"/ip4/127.0.0.1/tcp/4001/ipfs/{PEER}", "is not an address of a peer"),
        ("/ip4//tcp/4001", "is not an address of a peer"),
        ("/ip4/127.0.0.1/tcp/65536", "the port must be"),
        ("/ip4/127.0.0.1/tcp/-1", "the port must be"),
        ("/ip4/127.0.0.1/tcp/٣", "the port must be"),
        ("/ip4/127.0.0.256/tcp/4001", "'127.0.0.256' is not an address of ip4"),
        ("/ip4/localhost/tcp/4001", "'localhost' is not an address of ip4"),
        ("/ip6/127.0.0.1/tcp/4001", "is not an address of ip6"),
        ("/ip4/127.0.0.1/tcp/4001/p2p/alice", "'alice' is not a peer id"),
        ("/dns4/a..b/tcp/1", "not a name of letters, digits and hyphens"),
        ("/dns4/hospital..example/tcp/1", "not a name of letters, digits and hyphens"),
        ("/dns4/-a.example/tcp/1", "not a name of"),
        ("/dns4/a_b.example/tcp/1", "not a name of"),
        ("/dns4/" + "a" * 64 + ".example/tcp/1", "not a name of"),
        ("/dns4/" + ".".join(["a" * 49] * 6) + "/tcp/1", "is not an address of a peer"),
        ("/dns4/bücher.example/tcp/1", "not a name of"),
        ("/dns4/xn--a.example/tcp/1", "not an A-label"),
        ("/dns4/ab--c.example/tcp/1", "not an A-label"),
        ("/dns4/127.1/tcp/1", "is a number"),
        ("/dns4/0x7f000001/tcp/1", "is a number"),
        ("/ip6/fe80::1%eth0/tcp/1", "is not an address of ip6"),
        ("/ip6/fe80::1%a..b/tcp/1", "is not an address of ip6"),
        ("/ip4/127.0.0.1/tcp/04001", "the port must be"),
    ],
)
def test_what_the_network_would_refuse_is_refused(address, part):
    with pytest.raises(ValueError, match=part):
        parse_address(address, smallest_port=1)


HOSTS = st.one_of(
    st.text(max_size=70),
    st.from_regex(r"[a-z0-9.%:_-]{1,70}", fullmatch=True),
    st.ip_addresses().map(str),
    st.sampled_from(["a..b", ".", "a.", "xn--", "xn--a", "fe80::1%a..b", "127.1", "0", "a" * 253, "1e5"]),
)


@profile(max_examples=500, deadline=None)
@given(st.sampled_from(["ip4", "ip6", "dns", "dns4", "dns6"]), HOSTS, st.text("0123456789٣-", max_size=6))
def test_what_is_accepted_never_fails_but_as_a_name_that_is_not_found(family, host, port):
    try:
        address = parse_address(f"/{family}/{host}/tcp/{port}")
    except InvalidAddress:
        return
    assert 0 <= address.port <= 65535
    assert address.scope in Scope
    # What getaddrinfo does with a name before it asks anybody.
    assert address.host.encode("idna").decode("ascii").lower() == host.lower()
    if not address.is_name:
        socket.getaddrinfo(host, address.port, flags=socket.AI_NUMERICHOST)


def test_names_are_never_taken_for_numbers():
    """Resolvers take "127.1" for an address; a name that they do is none here."""
    for host in ("127.1", "2130706433", "0x7f000001", "017700000001", "1.2.3.4", "a.1", "0x"):
        with pytest.raises(InvalidAddress):
            parse_address(f"/dns4/{host}/tcp/1")


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("0.0.0.0", Scope.NOWHERE),
        ("255.255.255.255", Scope.NOWHERE),
        ("224.0.0.1", Scope.NOWHERE),
        ("ff02::1", Scope.NOWHERE),
        ("127.8.8.8", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("::ffff:127.0.0.1", Scope.LOOPBACK),
        ("2002:7f00:1::", Scope.LOOPBACK),
        ("64:ff9b::7f00:1", Scope.LOOPBACK),
        ("169.254.1.1", Scope.LINK),
        ("fe80::1", Scope.LINK),
        ("10.1.2.3", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("2001:4860:4860::8888", Scope.GLOBAL),
    ],
)
def test_the_scope_of_an_address(host, scope):
    assert scope_of(host) is scope


def test_every_identity_has_a_peer_id():
    for _ in range(20):
        public_key_of(Identity.generate().peer_id)
    assert peer_id_of(public_key_of(PEER)) == PEER


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "12D3KooW", "12D3", PEER[:-1], PEER + "1", PEER.replace("H", "0"), "é" * 52, "1" * 10**6),
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",  # the SHA-256 of a longer key
        "16Uiu2HAmUb7eRzkLy9hAUKwWBzGZ4H3gBpQ5MqGSn3BeH9c5e1mf",  # another kind of key
    ],
)
def test_what_is_no_peer_id_is_refused(text):
    with pytest.raises(ValueError, match="is not a peer id"):
        public_key_of(text)


@profile(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.binary(min_size=32, max_size=32))
def test_it_reads_and_writes_base_58_as_others_do(content, key):
    """An id is the multihash "identity" of the protobuf of an Ed25519 key."""
    text = base58.b58encode(bytes.fromhex("002408011220") + key).decode()
    assert peer_id_of(key) == text
    assert public_key_of(text) == key
    with pytest.raises(ValueError, match="is not a peer id"):
        public_key_of(base58.b58encode(content).decode())
