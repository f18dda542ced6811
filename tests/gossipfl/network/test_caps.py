"""Caps on the bytes a second of a host."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.network.caps import Cap

from .helpers import in_trio, model_frame, serving_host

LARGE = 25_000  # numbers: 100 kB
MBITS = 4.0


@given(
    rate=st.floats(1e4, 1e8),
    pauses=st.lists(st.floats(0.0, 3.0), max_size=5),
    share=st.floats(0.01, 1.0),
)
def test_no_ten_seconds_hold_more_than_a_tenth_too_much(rate, pauses, share):
    now, passed = 0.0, []
    cap = Cap(rate, now=now)
    for number in range(300):
        now += cap.wait(now) + (pauses[number % 7] if number % 7 < len(pauses) else 0.0)
        size = max(1, int(share * cap.piece))
        cap.charge(size, now=now)
        passed.append((now, size))
    for since, _ in passed:
        assert sum(size for at, size in passed if since <= at < since + 10) <= 11 * rate + 2 * cap.piece


async def seconds_for(count, client, host, *, first):
    """Send several rows at once, and return how long it took."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for sequence in range(first, first + count):
            frame = model_frame(LARGE, sequence=sequence)
            nursery.start_soon(client.exchange, host.peer_id, host.addresses, frame)
    return trio.current_time() - began


@pytest.mark.parametrize("capped", ["upload", "download"])
@in_trio
async def test_all_connections_together_keep_to_a_cap_that_may_change(capped):
    count, size = 8, 4 * LARGE
    async with serving_host(size=LARGE) as one, serving_host(size=LARGE) as host:
        await seconds_for(1, one, host, first=1)
        uncapped = await seconds_for(count, one, host, first=2)
        lane = one.link.upload if capped == "upload" else host.link.download
        lane.limit(MBITS)
        moved = lane.moved
        seconds = await seconds_for(count, one, host, first=100)
        assert count * size < lane.moved - moved < 1.1 * count * size
        assert (lane.moved - moved) / seconds == pytest.approx(MBITS * 1e6 / 8, rel=0.1)
        lane.limit(None)
        assert max(uncapped, await seconds_for(count, one, host, first=200)) < seconds / 2
