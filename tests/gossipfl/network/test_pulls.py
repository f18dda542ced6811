"""Models asked for without one of one's own."""

import pytest

from gossipfl.errors import MalformedFrame, PeerBusy, RefusedByNeighbour
from gossipfl.wire import ModelMessage, Pull, encode

from .helpers import LAYOUT, TASK, in_trio, model_frame, serving_host
from .test_offers import LARGE, carried, measured


def pull(**changes):
    return encode(Pull(**{"task": TASK, "layout": LAYOUT, "incarnation": 1, **changes}))


def answering(size):
    async def answer(peer_id, message):
        assert isinstance(message, Pull)
        return model_frame(size, value=2.0)

    return answer


@in_trio
async def test_a_pull_is_answered_by_a_model_on_one_stream():
    async with serving_host(answering(LARGE), size=LARGE) as host, serving_host(size=LARGE) as client:
        for _ in range(3):
            reply = await client.exchange(host.peer_id, host.addresses, pull())
            assert isinstance(reply, ModelMessage)
            assert reply.row.eq(2).all()
        [connection] = client._table.of_peer(host.peer_id)
        assert len(connection.multiplexer.streams) == 1
        assert host.link.download.moved < 5_000


@in_trio
async def test_a_pull_of_another_model_is_refused():
    async with serving_host(answering(10), size=10) as host, serving_host(size=10) as client:
        for field, code in (("task", "incompatible_task"), ("layout", "incompatible_model")):
            with pytest.raises(RefusedByNeighbour) as caught:
                await client.exchange(host.peer_id, host.addresses, pull(**{field: bytes(32)}))
            assert caught.value.code == code


@in_trio
async def test_the_first_answer_waits_for_room_like_any_other():
    """Three rows of 50 MB shared a slow link from its start on, and all arrived after twenty minutes."""
    async with serving_host(answering(LARGE), size=LARGE) as host, serving_host(size=LARGE) as client:
        measured(host.link.upload, 1_000_000_000)
        kept = [carried(host.link.upload, 20_000_000_000) for _ in range(3)]
        with pytest.raises(PeerBusy):
            await client.exchange(host.peer_id, host.addresses, pull())
        for each in kept:
            each.__exit__(None, None, None)


@in_trio
async def test_a_pull_whose_answer_has_to_wait_is_answered_by_a_time_and_no_model():
    async with serving_host(answering(LARGE), size=LARGE) as host, serving_host(size=LARGE) as client:
        await client.exchange(host.peer_id, host.addresses, pull())
        measured(host.link.upload, 1_000_000_000)
        kept = [carried(host.link.upload, 20_000_000_000) for _ in range(3)]
        sent = host.link.upload.moved
        with pytest.raises(PeerBusy) as caught:
            await client.exchange(host.peer_id, host.addresses, pull())
        assert caught.value.retry_after == pytest.approx(58.0, rel=0.1)
        assert host.link.upload.moved - sent < 2_000
        for each in kept:
            each.__exit__(None, None, None)
        assert isinstance(await client.exchange(host.peer_id, host.addresses, pull()), ModelMessage)
        [connection] = client._table.of_peer(host.peer_id)
        assert len(connection.multiplexer.streams) == 1


@in_trio
async def test_a_model_that_was_not_asked_for_is_not_read():
    async def answer(peer_id, message):
        return model_frame(4 * LARGE)

    async with serving_host(answer, size=4 * LARGE) as host, serving_host(size=4 * LARGE) as client:
        with pytest.raises(MalformedFrame):
            await client.exchange(host.peer_id, host.addresses, model_frame(4 * LARGE), answer_bytes=0)
        assert client.link.download.moved < 700_000  # of a million
