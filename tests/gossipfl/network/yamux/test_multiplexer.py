"""Yamux without sockets: two ends wired together, with every way of cutting the bytes."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import MessageRefused
from gossipfl.network.failures import AnsweredEarly, ConnectionLost, StreamEnded, StreamReset
from gossipfl.network.yamux.headers import FIN, INITIAL_WINDOW, RST
from gossipfl.network.yamux.multiplexer import Multiplexer
from gossipfl.network.yamux.stream import Stream
from tests.gossipfl.network.helpers import frames_in


class Wire:
    """Two multiplexers; `pump` carries what they have to say, cut as told."""

    def __init__(self, *, receive_window=1024 * 1024, cuts=(65519,), most=300_000):
        self.accepted = []
        self.refused = []
        self.cuts, self.most = cuts, most
        self.most_under_way = 0
        self.ends = [
            Multiplexer(
                is_initiator=is_initiator,
                receive_window=receive_window,
                most_inbound_streams=4,
                on_stream=self.accepted.append,
                on_outgoing=lambda: None,
                flush=lambda: None,
                on_refused=self.refused.append,
            )
            for is_initiator in (True, False)
        ]

    def pump(self):
        """Carry everything both ways until nothing is left; say whether there was anything."""
        moved = False
        while any(end.outgoing.has_work for end in self.ends):
            moved = True
            for source, target in (self.ends, self.ends[::-1]):
                pieces, drained = source.outgoing.next_batch(self.most)
                plaintext = b"".join(pieces)
                position = 0
                while position < len(plaintext):
                    cut = self.cuts[position % len(self.cuts)]
                    target.receive(memoryview(plaintext)[position : position + cut])
                    position += cut
                for stream in drained:
                    stream.sent()
        return moved

    async def keep_pumping(self):
        while True:
            self.pump()
            await trio.sleep(0)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 700_000), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 70_000), min_size=1, max_size=3),
    window=st.integers(INITIAL_WINDOW, 1024 * 1024),
    reads=st.integers(1_000, 500_000),
)
def test_bytes_arrive_in_order_on_every_stream_however_they_are_cut(sizes, cuts, window, reads):
    # Cutting into single bytes takes minutes; a few odd sizes find the same mistakes.
    wire = Wire(receive_window=window, cuts=[max(cut, 37) for cut in cuts])

    async def main():
        received = {}

        async def read(stream, size):
            target = bytearray(size)
            for start in range(0, size, reads):
                await stream.read_exactly_into(memoryview(target)[start : start + reads])
            received[stream.stream_id] = target

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.keep_pumping)
                async with trio.open_nursery() as users:
                    sent = {}
                    for number, size in enumerate(sizes):
                        stream = wire.ends[0].open()
                        data = bytes([number + 1, 7, 9]) * (size // 3) + b"z" * (size % 3)
                        sent[stream.stream_id] = data
                        users.start_soon(stream.write_all, [data[: size // 2], data[size // 2 :]])
                    wire.pump()
                    for stream in wire.accepted:
                        users.start_soon(read, stream, len(sent[stream.stream_id]))
                nursery.cancel_scope.cancel()
        assert received == sent

    trio.run(main)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_taken_or_refused_by_name(data):
    wire = Wire()
    try:
        wire.ends[1].receive(memoryview(data))
    except MessageRefused:
        return


def test_a_sender_is_held_back_by_the_window_and_buffers_nothing():
    async def main():
        wire = Wire(receive_window=INITIAL_WINDOW)
        stream = wire.ends[0].open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_all, [bytes(3 * INITIAL_WINDOW)])
            await trio.testing.wait_all_tasks_blocked()
            wire.pump()
            [accepted] = wire.accepted
            assert len(accepted.buffered) == INITIAL_WINDOW
            assert sum(len(piece) for piece in stream.outgoing) == 2 * INITIAL_WINDOW
            nursery.cancel_scope.cancel()
        assert not stream.outgoing

    trio.run(main)


def test_a_stream_left_in_the_middle_of_a_frame_discards_the_rest():
    async def main():
        wire = Wire(cuts=[10_000])
        stream = wire.ends[0].open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_all, [bytes(INITIAL_WINDOW)])
            await trio.testing.wait_all_tasks_blocked()
            [plaintext] = [b"".join(wire.ends[0].outgoing.next_batch(300_000)[0])]
            receiver = wire.ends[1]
            receiver.receive(memoryview(plaintext)[:100_000])
            wire.accepted[0].reset()
            receiver.receive(memoryview(plaintext)[100_000:])
            assert receiver._discard_allowance == 0
            assert not wire.accepted[0].buffered
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_the_window_follows_what_a_reader_wants():
    async def main():
        wire = Wire(receive_window=1024 * 1024)
        stream = wire.ends[0].open()
        wire.pump()
        [accepted] = wire.accepted
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepted.read_exactly_into, memoryview(bytearray(10**7)))
            await trio.testing.wait_all_tasks_blocked()
            wire.pump()
            assert stream.send_window == 1024 * 1024
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_the_ends_of_a_stream_are_told_apart():
    async def main():
        wire = Wire()
        target = memoryview(bytearray(4))
        for leave, failure in (("close", StreamEnded), ("reset", StreamReset)):
            stream = wire.ends[0].open()
            wire.pump()
            accepted = wire.accepted[-1]
            getattr(stream, leave)()
            wire.pump()
            with pytest.raises(failure):
                await accepted.read_exactly_into(target)
            accepted.reset()
        stream = wire.ends[0].open()
        wire.ends[0].fail(ConnectionLost("gone"))
        with pytest.raises(ConnectionLost):
            await stream.read_exactly_into(target)
        with pytest.raises(ConnectionLost):
            wire.ends[0].open()

    trio.run(main)


def test_what_came_before_the_end_can_still_be_read_but_not_after_ones_own_close():
    async def main():
        wire = Wire()
        async with trio.open_nursery() as nursery:
            stream = wire.ends[0].open()
            nursery.start_soon(stream.write_all, [b"last words"])
            await trio.testing.wait_all_tasks_blocked()
            wire.pump()
            await trio.testing.wait_all_tasks_blocked()
            stream.close()
            wire.pump()
        [accepted] = wire.accepted
        assert not accepted.usable
        target = bytearray(10)
        await accepted.read_exactly_into(memoryview(target))
        assert target == b"last words"
        with pytest.raises(StreamEnded):
            await accepted.read_exactly_into(memoryview(target))
        accepted.close()
        with pytest.raises(StreamReset, match="closed on this side"):
            await accepted.read_exactly_into(memoryview(target))

    trio.run(main)


def test_a_writer_learns_that_the_answer_came_early():
    async def main():
        wire = Wire()
        stream = wire.ends[0].open()
        async with trio.open_nursery() as nursery:

            async def write():
                with pytest.raises(AnsweredEarly):
                    await stream.write_all([bytes(10**6)], until_ended=True)

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            wire.pump()
            [accepted] = wire.accepted
            nursery.start_soon(accepted.write_all, [b"no"])
            await trio.testing.wait_all_tasks_blocked()
            wire.pump()
            await trio.testing.wait_all_tasks_blocked()
            accepted.close()
            wire.pump()
        assert await stream.read_exactly(2) == b"no"

    trio.run(main)


def test_streams_take_turns():
    async def main():
        wire = Wire(receive_window=INITIAL_WINDOW, most=100_000)
        streams = [wire.ends[0].open() for _ in range(2)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(stream.write_all, [bytes(250_000)])
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                wire.ends[0].outgoing.next_batch(100_000)
            left = [sum(len(piece) for piece in stream.outgoing) for stream in streams]
            assert max(left) - min(left) <= 100_100
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_left_streams_leave_nothing_behind():
    wire = Wire()
    for _ in range(1_000):
        stream = wire.ends[0].open()
        wire.pump()
        wire.accepted.pop().close()
        stream.reset()
        wire.pump()
    assert not wire.ends[0].streams
    assert not wire.ends[1].streams
    assert not wire.refused


def flags_sent(end):
    """The flags of all frames that wait; they are without payload."""
    pieces, _ = end.outgoing.next_batch(1_000)
    return [flags for _, flags, *_ in frames_in(b"".join(pieces))]


@pytest.mark.parametrize(
    ("remote_finished", "leave", "said"),
    [
        (False, Stream.close, []),
        (False, Stream.reset, [RST]),
        (True, Stream.close, []),
        (True, Stream.reset, []),
    ],
)
def test_a_finished_stream_says_so_once_and_is_read_until_it_is_left(remote_finished, leave, said):
    wire = Wire()
    near, far = wire.ends

    async def main():
        stream = near.open()
        wire.pump()
        stream.finish()
        stream.finish()
        assert flags_sent(near) == [FIN]
        [other] = wire.accepted
        other.outgoing.append(memoryview(b"answer"))
        far.send(other)
        wire.pump()
        assert await stream.read_exactly(6) == b"answer"
        if remote_finished:
            other.finish()
            wire.pump()
        leave(stream)
        assert flags_sent(near) == said
        assert not near.streams

    trio.run(main)
