"""Departures from a device: every byte of a frame is counted once, with its time and its recipient."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipfl.network import NetworkCounters
from gossipfl.peer.page.departures import Departures


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 999)), max_size=5), max_size=8))
def test_all_bytes_are_accounted_for(seconds):
    counters, now = NetworkCounters(), [86400.0 * 100]
    departures = Departures(counters, lambda: now[0])
    for sent in seconds:
        for peer_id, size in sent:
            counters.count_sent(size, peer_id=peer_id)
        departures.look()
        now[0] += 40_000
    shown = departures.to_values()
    assert sum(shown["days"].values()) == counters.bytes_sent
    assert sum(each["bytes"] for each in shown["latest"]) == counters.bytes_sent
    by_peer = {peer_id: traffic.bytes_sent for peer_id, traffic in counters.peers.items()}
    for peer_id, sent in by_peer.items():
        assert sum(each["bytes"] for each in shown["latest"] if each["to"] == peer_id) == sent
    times = [each["time"] for each in shown["latest"]]
    assert times == sorted(times, reverse=True)


def test_of_much_there_is_little_in_memory():
    counters, now = NetworkCounters(), [0.0]
    departures = Departures(counters, lambda: now[0])
    for number in range(500):
        counters.count_sent(10, peer_id=f"peer {number}")
        departures.look()
        now[0] += 86400
    shown = departures.to_values()
    assert (len(shown["latest"]), len(shown["days"])) == (200, 31)
