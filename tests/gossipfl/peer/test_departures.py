"""Departures from a device: every byte of a frame is counted once, with its time and its recipient."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.network import NetworkCounters
from gossipfl.peer.departures import Departures
from gossipfl.peer.loop_text import loop_lines


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 999)), max_size=5), max_size=8))
def test_all_bytes_are_accounted_for(seconds):
    counters, now = NetworkCounters(), [86400.0 * 100]
    departures = Departures(counters, now=lambda: now[0])
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
    departures = Departures(counters, now=lambda: now[0])
    for number in range(500):
        counters.count_sent(10, peer_id=f"peer {number}")
        departures.look()
        now[0] += 86400
    shown = departures.to_values()
    assert (len(shown["latest"]), len(shown["days"])) == (200, 31)


def test_a_day_s_bytes_are_those_of_all_starts(tmp_path):
    path, now = tmp_path / "departures.json", [86400.0 * 100.5]
    for start in range(3):
        counters = NetworkCounters()
        departures = Departures(counters, path=path, now=lambda: now[0])
        counters.count_sent(10, peer_id="a")
        departures.look()
        departures.save()
        assert [*departures.to_values()["days"].values()] == [10 * (start + 1)]
    now[0] += 86400
    later = Departures(NetworkCounters(), path=path, now=lambda: now[0])
    later.look()
    assert [*later.to_values()["days"].values()] == [30, 0]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b'{"days": 3}', b'{"days": {"x": 1}}', b'{"days": {"2026-11-27": -1}}'),
        *(b'{"days": {"2026-11-27": "1"}}', b'{"days": {"2026-11-27": true}}', b"\xff" * 9999),
    ],
)
def test_a_damaged_file_of_days_is_passed_over(tmp_path, content):
    path = tmp_path / "departures.json"
    path.write_bytes(content)
    assert Departures(NetworkCounters(), path=path, now=lambda: 0.0).to_values()["days"] == {}


def test_a_full_disk_is_no_trouble(tmp_path):
    departures = Departures(NetworkCounters(), path=tmp_path / "none" / "departures.json", now=lambda: 0.0)
    departures.look()
    departures.save()
    assert len(departures.to_values()["days"]) == 1


def test_the_loop_in_words():
    done = {
        part: {"count": 0, "time": None, "peer": None} for part in ("fetched", "improved", "sent", "merged")
    }
    done["sent"] = {"count": 3, "time": 86400.0, "peer": "12D3x"}
    condensed = {"codec": "int8", "bytes": 20_768, "whole": 82_720}
    left = {"days": {time.strftime("%Y-%m-%d"): 1234, "1999-01-01": 7}, "latest": []}
    lines = dict(loop_lines({"loop": done, "condensed": condensed, "left": left, "trains": False}))
    named = ["models fetched", "model improved", "model condensed", "models sent", "models merged"]
    assert list(lines) == [*named, "left today"]
    assert lines["model improved"] == "not yet; not now"
    assert lines["model condensed"] == "int8, 20,768 bytes instead of 82,720"
    assert lines["models sent"] == "3 ×, last 1970-01-02 00:00 UTC, 12D3x"
    assert lines["left today"] == "1,234 bytes (7 bytes on 1999-01-01)"
