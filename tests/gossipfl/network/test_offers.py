"""Large rows are offered before they are sent, as many at a time as the link carries."""

import struct

import pytest
import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut, PeerBusy, SettingError
from gossipfl.network import serving
from gossipfl.network.lane import Lane
from gossipfl.network.throughput import Throughput
from gossipfl.wire import OFFERED_BYTES, PREAMBLE_BYTES, Acknowledgement, Kind, Pull, encode

from .helpers import (
    LAYOUT,
    TASK,
    Outlaw,
    acknowledge,
    frame_bytes,
    in_trio,
    limits,
    model_frame,
    serving_host,
    until,
)

LARGE = OFFERED_BYTES  # numbers: four times as many bytes


def pull():
    return encode(Pull(task=TASK, layout=LAYOUT, incarnation=1))


def measured(lane, bytes_per_second):
    lane._throughput.note(bytes_per_second, 1.0)
    return lane


def carried(lane, size, moved=0, *, is_valued=True):
    """Have a row under way for ever."""
    context = lane.expecting(size, is_valued=is_valued)
    transfer = context.__enter__()
    transfer.moved = lambda: moved
    return context


def test_throughput_is_the_largest_of_the_latest_samples():
    throughput = Throughput()
    assert throughput.bytes_per_second is None
    throughput.note(1_000, 1.0)
    throughput.note(500, 1.0)  # another row was on the way at the same time
    assert throughput.bytes_per_second == 1_000
    for _ in range(8):  # the link has become slower
        throughput.note(300, 1.0)
    assert throughput.bytes_per_second == 300


def test_a_row_waits_until_only_two_others_are_under_way_or_the_rest_takes_two_seconds():
    lane = measured(Lane(), 1_000_000)
    assert lane.seconds_until_free(1_000_000, is_valued=True) == 0
    kept = [carried(lane, 16_000_000, moved=1_000_000), carried(lane, 12_000_000)]
    assert lane.seconds_until_free(1_000_000, is_valued=True) == 0
    kept.append(carried(lane, 1_000_000))
    # The three share the link, and another row is offered a second before it can begin.
    assert lane.seconds_until_free(1_000_000, is_valued=True) == pytest.approx(3 * 1 - 1)
    kept.append(carried(lane, 4_500_000))
    assert lane.seconds_until_free(1_000_000, is_valued=True) == pytest.approx(1 + 3 * 4.5 - 1)
    assert len(kept) == 4


def seconds_of_sharing(rows, *, until):
    """In how many seconds rows that share a link of one unit a second are as they should be."""
    left, now = list(rows), 0.0
    while not until(left):
        step = 1e-3
        left, now = [each - step / len(left) for each in left], now + step
        left = [each for each in left if each > 0]
    return now


@pytest.mark.parametrize("rows", [(3, 3, 3), (1, 2, 4, 8), (5, 1, 1, 9, 2), (0.5, 0.5, 0.5), (0.2, 20, 30)])
def test_a_row_waits_as_long_as_it_takes_others_that_share_the_link(rows):
    lane = measured(Lane(), 1_000_000)
    kept = [carried(lane, int(1e6 * each)) for each in rows]
    few = seconds_of_sharing(rows, until=lambda left: len(left) < 3) - 1  # for the clearance
    little = seconds_of_sharing(rows, until=lambda left: sum(left) <= 2)
    expected = max(0.0, min(few, little))
    assert lane.seconds_until_free(1_000_000, is_valued=True) == pytest.approx(expected, abs=0.01)
    assert kept


def test_of_rows_that_may_turn_out_to_take_long_two_are_under_way():
    lane = measured(Lane(), 1_000_000)
    kept = [carried(lane, 40_000_000) for _ in range(2)]
    assert lane.seconds_until_free(30_000_000, is_valued=True) == 0
    assert lane.seconds_until_free(31_000_000, is_valued=True) > 30
    assert kept


def test_before_a_row_has_arrived_the_pace_of_those_under_way_says_when_another_may_begin():
    """With rows of 50 MB nothing was measured for a quarter of an hour, and a third row waited for as long."""
    lane = Lane()
    kept = [carried(lane, 3_000_000) for _ in range(3)]
    assert lane.seconds_until_free(1_000_000, is_valued=True) == pytest.approx(1.0)
    for number in range(8):
        lane.look(number / 4)
        lane.moved += 250_000
    assert lane.seconds_until_free(1_000_000, is_valued=True) == pytest.approx(7.0)
    assert lane.seconds_until_free(1_000_000, is_valued=True, ahead=7.5) == 0
    assert kept


@in_trio
async def test_the_rows_of_an_exchange_go_in_the_directions_that_have_room():
    async with serving_host() as host:
        large = 10_000_000
        for lane in (host.link.upload, host.link.download):
            measured(lane, 1_000_000)
        assert host.link.free_directions(large, large) == (True, True)
        up = [carried(host.link.upload, large) for _ in range(3)]
        assert host.link.free_directions(large, large) == (False, True)
        assert host.link.free_directions(10, large) == (True, True)
        down = [carried(host.link.download, large) for _ in range(3)]
        assert host.link.free_directions(large, large) == (False, False)
        assert host.link.free_directions(10, 10) == (True, True)
        up.pop().__exit__(None, None, None)
        assert host.link.free_directions(large, large) == (True, False)
        assert host.link.free_directions(large, large, needs_both=True) == (
            True,
            True,
        )  # the answer comes later
        down.pop().__exit__(None, None, None)
        assert host.link.free_directions(large, large) == (True, True)


@in_trio
async def test_rows_that_take_long_are_for_exchanges_of_their_own():
    """Their answers waited for others; meanwhile all slots were taken, and the upload was idle."""
    async with serving_host() as host:
        link = host.link
        assert link.go_together(10**9, 10**9)  # as nothing is known
        measured(link.upload, 1_000_000)
        measured(link.download, 10_000_000)
        assert link.go_together(2_000_000, 20_000_000)
        assert link.go_together(2_000_000, 0)
        assert link.go_together(10, 20_000_000)
        assert not link.go_together(2_100_000, 20_000_000)
        assert not link.go_together(2_000_000, 21_000_000)


def test_a_fast_link_carries_many_rows_at_once():
    lane = measured(Lane(), 10_000_000)
    kept = [carried(lane, 1_000_000) for _ in range(20)]
    assert lane.seconds_until_free(1_000_000, is_valued=True) == 0
    kept += [carried(lane, 1_000_000) for _ in range(10)]
    assert lane.seconds_until_free(1_000_000, is_valued=True) == pytest.approx(1.0)


def test_rows_that_crawl_or_belong_to_strangers_keep_nobody_of_standing_waiting():
    lane = measured(Lane(), 1_000_000)
    kept = [carried(lane, 50_000_000, is_valued=False) for _ in range(3)]
    assert lane.seconds_until_free(1_000_000, is_valued=False) > 40
    assert lane.seconds_until_free(1_000_000, is_valued=True) == 0
    kept += [carried(lane, 50_000_000) for _ in range(3)]
    assert lane.seconds_until_free(1_000_000, is_valued=True) > 40
    for number in range(8):
        lane.moved += 10_000
        lane.look(number / 4)
    assert lane.seconds_until_free(1_000_000, is_valued=True) == 0
    assert kept


@in_trio
async def test_an_answer_is_counted_before_it_begins():
    async with serving_host() as host:
        link = host.link
        measured(link.upload, 1_000_000)
        measured(link.download, 1_000_000)
        own = [link.download.expecting(2_000_000, is_valued=True) for _ in range(5)]
        for expected in own:
            expected.__enter__()
        assert host.link.free_directions(2_000_000, 2_000_000) == (True, True)
        another = link.download.expecting(2_000_000, is_valued=True)
        another.__enter__()
        assert host.link.free_directions(2_000_000, 2_000_000) == (True, False)
        assert host.link.free_directions(10, 2_000_000) == (True, True)  # nothing is to precede it


@in_trio
async def test_an_answer_goes_after_a_few_other_rows_and_is_left_out_after_more():
    """Behind 10 Mbit/s down and 1 up, ten models arrive while one leaves."""
    async with serving_host() as host:
        measured(host.link.upload, 1_000_000)
        kept = [carried(host.link.upload, 2_000_000) for _ in range(5)]
        assert host.link.free_directions(2_000_000, 10) == (False, True)
        assert host.link.may_answer(2_000_000)
        assert not host.link.may_answer(2_100_000)  # but it goes only at once if it takes long
        kept.append(carried(host.link.upload, 2_000_000))
        assert not host.link.may_answer(2_000_000)
        assert host.link.may_answer(10)
        assert kept


def test_whoever_waits_is_given_a_time_of_its_own():
    lane = measured(Lane(), 1_000_000)
    turns = [lane.turn(100.0, 5.0, 4_000_000) for _ in range(20)]
    assert turns[:3] == [5.0, 9.0, 13.0]
    assert max(turns) == 37.0  # liars who never come make nobody wait for longer than that


def test_the_time_for_a_row_follows_from_the_path_and_is_bounded():
    usual = limits(slowest_bytes_per_second=4096.0, longest_row_seconds=3600.0)
    assert usual.row_seconds(1_000_000, None) == pytest.approx(244.1, abs=0.1)
    assert usual.row_seconds(1_000_000, 125_000.0) == 64.0
    assert usual.row_seconds(1_000_000, 100.0) == usual.row_seconds(1_000_000, None)
    assert usual.row_seconds(10**12, 125_000.0) == 3600.0
    with pytest.raises(SettingError):
        limits(longest_row_seconds=0.0)


@in_trio
async def test_a_row_that_has_to_wait_is_not_sent_and_its_stream_goes_on():
    async with serving_host(size=LARGE) as host, serving_host(size=LARGE) as client:
        frame = model_frame(LARGE)
        await client.exchange(host.peer_id, host.addresses, frame)
        measured(host.link.download, 1_000_000_000)  # whatever this machine did
        kept = [carried(host.link.download, 20_000_000_000) for _ in range(3)]
        received = host.link.download.moved
        with pytest.raises(PeerBusy) as caught:
            await client.exchange(host.peer_id, host.addresses, model_frame(LARGE, sequence=2))
        assert caught.value.retry_after == pytest.approx(58.0, rel=0.1)
        assert host.link.download.moved - received < 2_000
        for each in kept:
            each.__exit__(None, None, None)
        reply = await client.exchange(host.peer_id, host.addresses, model_frame(LARGE, sequence=3))
        assert isinstance(reply, Acknowledgement)
        [connection] = client._table.of_peer(host.peer_id)
        assert len(connection.multiplexer.streams) == 1
        assert not host.is_banned(client.peer_id)


@pytest.mark.parametrize("is_told", [True, False])
@in_trio
async def test_who_is_not_cleared_learns_of_it_behind_a_row_on_a_slow_link(is_told, monkeypatch):
    """After a second the refusal was dropped, and the other side waited for 20."""
    if not is_told:
        monkeypatch.setattr(serving, "_REFUSAL_SECONDS", 0.05)

    async def answer(peer_id, message):
        return model_frame(LARGE) if isinstance(message, Pull) else await acknowledge(peer_id, message)

    def decline_second(peer_id, header):
        if getattr(header, "sequence", 0) == 2:
            raise PeerBusy("not now", retry_after=12.5)

    slow = limits(slowest_bytes_per_second=100.0)
    async with (
        serving_host(answer, size=LARGE, limits=slow, screen=decline_second) as host,
        serving_host(size=LARGE, limits=slow) as client,
        trio.open_nursery() as nursery,
    ):
        await client.exchange(host.peer_id, host.addresses, model_frame(LARGE), seconds=20)
        host.link.upload.limit(0.05)
        nursery.start_soon(client.exchange, host.peer_id, (), pull())
        await until(lambda: any(each.moved for each in client.link.download._transfers))
        with pytest.raises(PeerBusy if is_told else ExchangeFailed) as caught, trio.fail_after(19):
            await client.exchange(host.peer_id, (), model_frame(LARGE, sequence=2), seconds=20)
        assert not isinstance(caught.value, ExchangeTimedOut)
        nursery.cancel_scope.cancel()


@in_trio
async def test_a_row_that_has_to_wait_for_a_moment_waits():
    async with serving_host(size=LARGE) as host, serving_host(size=LARGE) as client:
        await client.exchange(host.peer_id, host.addresses, model_frame(LARGE))
        measured(host.link.download, 1_000_000_000)
        kept = [carried(host.link.download, 1_100_000_000) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.exchange, host.peer_id, (), model_frame(LARGE, sequence=2))
            await until(lambda: host._server.places.taken)
            for each in kept:
                each.__exit__(None, None, None)
        assert host.counters.messages_received == 2


@in_trio
async def test_what_a_handler_declines_is_not_sent_either():
    def decline(peer_id, header):
        raise PeerBusy("not now", retry_after=12.5)

    for size in (10, LARGE):
        async with serving_host(size=size, screen=decline) as host, serving_host(size=size) as client:
            for _ in range(2):
                with pytest.raises(PeerBusy) as caught:
                    await client.exchange(host.peer_id, host.addresses, model_frame(size))
                assert caught.value.retry_after == 12.5
            assert host.link.download.moved < 5_000


@in_trio
async def test_who_offers_and_sends_nothing_loses_its_place_and_keeps_nobody_out():
    tight = limits(grace_seconds=0.5)
    async with serving_host(size=LARGE, limits=tight) as host, serving_host(size=LARGE) as client:
        await client.exchange(host.peer_id, host.addresses, model_frame(LARGE))
        async with Outlaw.connected_to(host) as outlaw:
            await outlaw.open_stream()
            await outlaw.send_data(frame_bytes(model_frame(LARGE))[:300])
            received = await outlaw.receive_until(b"GSFL")
            at = received.index(b"GSFL")
            kind = struct.unpack("<4sHHIIQ", received[at : at + PREAMBLE_BYTES])[2]
            assert kind == Kind.CLEARANCE
            await client.exchange(host.peer_id, host.addresses, model_frame(LARGE, sequence=2))
            await until(lambda: host.counters.refused["exchange_timed_out"] == 1)


@in_trio
async def test_a_peer_never_answers_a_small_request_by_a_clearance():
    async with serving_host(acknowledge) as host, serving_host() as client:
        assert isinstance(await client.exchange(host.peer_id, host.addresses, model_frame()), Acknowledgement)
        assert client.link.paths == {}


@in_trio
async def test_a_peer_that_sends_several_rows_slowly_leaves_memory_for_others():
    tight = limits(inbound_bytes=10 * LARGE)  # two rows and a half
    async with (
        serving_host(size=LARGE, limits=tight) as host,
        serving_host(size=LARGE) as client,
        Outlaw.connected_to(host) as slow,
    ):
        for number, stream in enumerate((1, 3, 5)):
            await slow.open_stream(stream)
            header = model_frame(LARGE, sequence=number + 1).buffers[0]
            await slow.send_data(bytes(header), stream)
        await until(lambda: host.counters.refused["peer_busy"] == 2)
        reply = await client.exchange(host.peer_id, host.addresses, model_frame(LARGE))
        assert isinstance(reply, Acknowledgement)
