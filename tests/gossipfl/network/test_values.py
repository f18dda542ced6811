"""Limits, rates, bans and addresses: values and rules without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import ChecksumMismatch, IncompatibleTask, InvalidAddress, RateLimited, SettingError
from gossipfl.network import NetworkLimits, parse_address
from gossipfl.network.bans import Bans, breaks_protocol
from gossipfl.network.rates import PeerRates, TokenBucket


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": 0},
        {"connections": 2.5},
        {"connections": True},
        {"exchange_seconds": -1},
        {"exchange_seconds": float("inf")},
        {"exchange_seconds": "60"},
        {"receive_window": 1000},
        {"receive_window": 2**30},
        {"connections_per_peer": 500},
        {"connections_per_address": 3},
        {"inbound_exchanges_per_peer": 65},
        {"keepalive_seconds": 20.0},
        {"first_ban_seconds": 7200.0},
    ],
)
def test_limits_validate_themselves_and_name_the_field(wrong):
    with pytest.raises(SettingError, match=f"{next(iter(wrong))}.*got"):
        NetworkLimits(**wrong)


@given(
    rate=st.floats(1, 1e6),
    requests=st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 1e6)), max_size=50),
)
def test_a_token_bucket_allows_a_seconds_worth_the_rate_and_one_request_over(rate, requests):
    bucket, now, taken, largest = TokenBucket(rate=rate, now=0.0), 0.0, 0.0, 0.0
    for pause, units in requests:
        now += pause
        if bucket.take(units, now=now):
            taken += units
            largest = max(largest, units)
    assert taken <= (rate * (1 + now) + largest) * (1 + 1e-9)


def test_a_token_bucket_refills():
    bucket = TokenBucket(rate=2.0, now=0.0)
    assert [bucket.take(1, now=0.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(1, now=0.0)
    assert bucket.take(1, now=0.5)


def test_a_frame_larger_than_a_seconds_worth_passes_and_is_paid_for():
    rates = PeerRates(frames_per_second=10, bytes_per_second=100)
    rates.charge("a", 1_000, now=0.0)
    with pytest.raises(RateLimited, match="100 bytes"):
        rates.charge("a", 1, now=8.9)
    rates.charge("b", 1_000, now=8.9)
    rates.charge("a", 1, now=9.5)


def test_bans_grow_and_are_forgiven():
    bans = Bans(offences_before_ban=1, first_ban_seconds=10, longest_ban_seconds=35)
    lengths, now = [], 0.0
    for _ in range(4):
        assert not bans.offend("a", now=now)
        assert bans.offend("a", now=now)
        lengths.append(next(s for s in range(1, 100) if not bans.is_banned("a", now=now + s)))
        now += lengths[-1]
    assert lengths == [10, 20, 35, 35]
    assert not bans.is_banned("b", now=0.0)
    now += 100
    bans.offend("a", now=now)
    bans.offend("a", now=now)
    assert not bans.is_banned("a", now=now + 10)


def test_what_breaks_the_protocol_and_what_is_merely_not_wanted():
    assert breaks_protocol(ChecksumMismatch("damaged"))
    assert not breaks_protocol(IncompatibleTask("another"))


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip6/::1/tcp/1",
        "/dns4/peer.example.org/tcp/65535/p2p/12D3KooWSCTyAAcSFo9g6Dzmh6rQhMAg8Bq8wbabLSjm23rqRMQv",
    ],
)
def test_addresses_read_and_write_the_same(text):
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1",
        "/ip4/::1/tcp/1",
        "/ip4/300.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/udp/4001/quic-v1",
        "/ip4/127.0.0.1/tcp/4001/p2p/not-base-58!",
        "/ip4/127.0.0.1/tcp/4001/p2p/x/p2p-circuit",
        "/ip4/127.0.0.1/tcp/4001\n",
    ],
)
def test_wrong_addresses_are_refused_with_the_form(text):
    with pytest.raises(InvalidAddress, match=r"/tcp/PORT|not a peer id"):
        parse_address(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text):
    try:
        address = parse_address(text)
    except InvalidAddress:
        return
    assert parse_address(str(address)) == address
