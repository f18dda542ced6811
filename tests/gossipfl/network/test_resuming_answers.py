"""Large answers whose connection breaks: continued where they were cut off."""

import pytest
import torch
import trio

from gossipfl.errors import ExchangeFailed, PeerBusy, TruncatedFrame
from gossipfl.network import exchanging, receiving, serving
from gossipfl.network.partials import CHUNK_BYTES
from gossipfl.network.resuming import agree
from gossipfl.wire import ModelMessage, Pull, encode
from tests.gossipfl.network.helpers import (
    LAYOUT,
    TASK,
    in_trio,
    model_frame,
    serving_host,
    tcp_address,
    until,
)
from tests.gossipfl.network.test_resuming import ROW, Wire, frame


def pull():
    return encode(Pull(task=TASK, layout=LAYOUT, incarnation=1))


class Answerer:
    """Answers by models, each with another value, and counts those whose memory has been released."""

    def __init__(self, size=ROW):
        self.size, self.asked, self.released = size, 0, 0

    async def __call__(self, peer_id, message):
        self.asked += 1
        answer = model_frame(self.size, sequence=self.asked, value=float(self.asked))
        answer.on_release = self._note
        return answer

    def _note(self):
        self.released += 1


async def answered_over(cuts, request, *, is_silent=False, errors=(), **options):
    """Ask for a model over a wire with cuts; give the answer or error, who answered, and the bytes that passed."""
    answerer = Answerer()
    async with serving_host(answerer, size=ROW, **options) as server, serving_host(size=ROW) as client:
        wire = Wire(tcp_address(server), cuts, back=True, is_silent=is_silent)
        async with wire.laid() as address:
            target = (server.peer_id, [f"{address}/p2p/{server.peer_id}"])
            try:
                reply = await client.exchange(*target, request, seconds=50)
                await until(lambda: answerer.released == answerer.asked)
            except errors as raised:
                reply = raised
            assert not wire.cuts
        assert not server.memory.reserved
        return reply, answerer, wire.passed


@pytest.mark.parametrize("request_of", [pull, frame], ids=["pull", "push-pull"])
@in_trio
async def test_an_answer_is_continued_after_three_cuts_and_hardly_anything_sent_twice(request_of):
    reply, answerer, passed = await answered_over([5_000_000, 11_000_000, 17_000_000], request_of())
    assert isinstance(reply, ModelMessage)
    assert torch.equal(reply.row, torch.ones(ROW))
    assert answerer.asked == 1
    assert passed < 4 * ROW + 4 * CHUNK_BYTES


@in_trio
async def test_an_answer_is_continued_although_the_other_side_has_not_noticed_that_the_connection_broke():
    reply, answerer, passed = await answered_over([8_000_000], pull(), is_silent=True)
    assert torch.equal(reply.row, torch.ones(ROW))
    assert answerer.asked == 1
    assert passed < 4 * ROW + 2 * CHUNK_BYTES


@in_trio
async def test_an_answer_that_broke_at_its_beginning_is_not_continued():
    reply, _, passed = await answered_over([2_000_000], pull(), errors=TruncatedFrame)
    assert isinstance(reply, TruncatedFrame)
    assert passed < 3_000_000


@in_trio
async def test_an_answer_that_is_not_kept_any_more_fails_and_another_may_be_asked_for(monkeypatch):
    monkeypatch.setattr(exchanging, "_LONGEST_PAUSE", 0.5)
    answerer = Answerer()
    async with serving_host(answerer, size=ROW) as server, serving_host(size=ROW) as client:
        kept = server._server.answers._unfinished
        original = kept._keep_few

        def drop():
            original()
            for peer_id in [each for each, answer in kept._of.items() if answer.since is not None]:
                kept._drop(peer_id)

        kept._keep_few = drop
        wire = Wire(tcp_address(server), [8_000_000], back=True)
        async with wire.laid() as address:
            target = (server.peer_id, [f"{address}/p2p/{server.peer_id}"])
            with pytest.raises(ExchangeFailed):
                await client.exchange(*target, pull(), seconds=50)
            await until(lambda: answerer.released == 1)
            reply = await client.exchange(*target, pull(), seconds=50)
        assert torch.equal(reply.row, torch.full((ROW,), 2.0))


@in_trio
async def test_a_peer_that_does_not_know_the_protocol_is_asked_in_vain(monkeypatch):
    monkeypatch.setattr(serving, "RESUME_ANSWER_PROTOCOL", "/of/another/program")
    monkeypatch.setattr(exchanging, "_LONGEST_PAUSE", 0.1)
    reply, *_ = await answered_over([8_000_000], pull(), errors=ExchangeFailed)
    assert isinstance(reply, ExchangeFailed)


@in_trio
async def test_few_broken_answers_are_kept_and_not_for_long():
    """Each holds the memory of a version of the model; whoever breaks connections may hold two of them."""
    clients = 4
    answerer = Answerer()
    async with serving_host(answerer, size=ROW) as server, trio.open_nursery() as nursery:
        kept = server._server.answers._unfinished

        async def ask_and_leave():
            async with serving_host(size=ROW) as client:
                wire = Wire(tcp_address(server), [8_000_000], back=True)
                async with wire.laid() as address:
                    with trio.move_on_after(50) as scope:
                        broken = client._exchanger._resume

                        async def leave(request):
                            scope.cancel()
                            return await broken(request)

                        client._exchanger._resume = leave
                        await client.exchange(
                            server.peer_id, [f"{address}/p2p/{server.peer_id}"], pull(), seconds=50
                        )

        for _ in range(clients):
            await ask_and_leave()
        await until(lambda: answerer.released == clients - 2)
        assert len(kept._of) == 2
        for each in kept._of.values():
            each.since -= 61.0
        await until(lambda: answerer.released == clients)
        assert not kept._of
        nursery.cancel_scope.cancel()


@in_trio
async def test_who_claims_more_of_an_answer_than_there_is_breaks_the_protocol(monkeypatch):
    async def boast(stream, body, received):
        await stream.write((2**31).to_bytes(4, "little"))
        return await agree(stream, body, received)

    monkeypatch.setattr(receiving, "agree", boast)
    answerer = Answerer()
    async with serving_host(answerer, size=ROW) as server, serving_host(size=ROW) as client:
        wire = Wire(tcp_address(server), [8_000_000], back=True)
        async with wire.laid() as address:
            with pytest.raises((ExchangeFailed, PeerBusy)):
                await client.exchange(server.peer_id, [f"{address}/p2p/{server.peer_id}"], pull(), seconds=50)
        assert server.counters.refused["malformed_frame"]
        assert server.is_banned(client.peer_id) or not server.connections.of_peer(client.peer_id)
        assert not server.memory.reserved


@in_trio
async def test_nobody_is_given_the_answer_of_another():
    answerer = Answerer()
    async with serving_host(answerer, size=ROW) as server, serving_host(size=ROW) as client:
        kept = server._server.answers._unfinished
        wire = Wire(tcp_address(server), [8_000_000], back=True)
        async with wire.laid() as address:
            scope = trio.CancelScope()

            async def leave(request):
                scope.cancel()
                await trio.sleep_forever()

            client._exchanger._resume = leave
            with scope:
                await client.exchange(server.peer_id, [f"{address}/p2p/{server.peer_id}"], pull(), seconds=50)
        await until(lambda: any(each.since for each in kept._of.values()))
        [answer] = kept._of.values()
        assert await kept.take("another", answer.key) is None
        assert await kept.take(client.peer_id, bytes(16)) is None
        assert await kept.take(client.peer_id, answer.key) is answer.frame
        assert await kept.take(client.peer_id, answer.key) is None
        answer.frame.release()
