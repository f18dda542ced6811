"""A 100 MB model is copied at most once on its way to bytes, and at most once on its way back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from gossipfl.codecs import BFLOAT16, FLOAT16, FLOAT32
from gossipfl.codecs.dense import _BLOCK
from gossipfl.network.bodies import BodyBuffers
from gossipfl.wire import decode_body, decoded_bytes, encode_model
from gossipfl.wire.carried import CarriedRow
from tests.gossipfl.wire.frames import SENDER, SPARSE, Stream, expectation, flat, model_frame, received

SIZE = 25_000_000


def allocated(work):
    """Run `work` and give its result and the bytes of tensor memory it allocated in all, freed or not."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = work()
    events = profiled.profiler.kineto_results.events()
    return result, sum(max(0, event.nbytes()) for event in events if event.name() == "[memory]")


def address(buffer):
    return np.frombuffer(buffer, np.uint8).ctypes.data


@pytest.fixture(scope="module")
def row():
    return torch.full((SIZE,), 0.75)


def test_the_measure_sees_a_copy(row):
    _, cloned = allocated(row.clone)
    assert row.nbytes <= cloned < row.nbytes + 100_000


@pytest.mark.parametrize(("codec", "copies"), [(FLOAT32, 0), (BFLOAT16, 1), (FLOAT16, 1)], ids=str)
def test_each_way_copies_a_row_at_most_once(row, codec, copies):
    frame, encoding = allocated(lambda: encode_model(row, codec=codec, **SENDER))
    payload = frame.size - frame.buffers[0].nbytes
    assert copies * payload <= encoding < copies * payload + 100_000

    expects = expectation(SIZE)
    drained, receiving = allocated(lambda: received(Stream(flat(frame)), expects))
    assert row.nbytes <= receiving < row.nbytes + 100_000

    # Rows of 16 bits expand in place, a block at a time; the measure is the sum of all blocks.
    message, decoding = allocated(drained.message)
    assert decoding < copies * row.nbytes * 1.01 + 100_000
    assert message.row.data_ptr() == address(drained.body) - (row.nbytes - payload if copies else 0)
    assert message.row.equal(row)


def test_float32_stays_where_it_is_from_row_to_frame_and_from_buffer_to_row(row):
    frame = encode_model(row, codec=FLOAT32, **SENDER)
    assert address(frame.buffers[1]) == row.data_ptr()
    drained = received(Stream(flat(frame)), expectation(SIZE))
    message = decode_body(drained.header, drained.body, drained.expectation)
    assert message.row.data_ptr() == address(drained.body)


def test_a_row_changed_while_it_is_sent_fails_its_checksum_and_not_the_receiver():
    changing = torch.ones(1000)
    frame = encode_model(changing, codec=FLOAT32, **SENDER)
    changing[3] = 2.0
    drained = received(Stream(flat(frame)), expectation(1000))
    with pytest.raises(Exception, match="damaged, or changed") as caught:
        drained.message()
    assert type(caught.value).__name__ == "ChecksumMismatch"


@given(
    st.integers(0, 3),
    st.integers(-3, 3),
    st.sampled_from([BFLOAT16, FLOAT16]),
    st.booleans(),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_rows_that_expand_in_place_are_those_that_do_not(blocks, more, codec, is_carried, seed):
    size = max(0, blocks * _BLOCK // 2 + more)
    row = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 100
    carried = {"momentum": row.flip(0) / 3, "weight": torch.tensor(1.5)} if is_carried else {}
    rows = (CarriedRow("momentum", size), CarriedRow("weight", None)) if is_carried else ()
    expects = replace(expectation(size), carried=rows)
    data = flat(encode_model(row, codec=codec, carried=carried, **SENDER))
    buffers = BodyBuffers()
    messages = [
        received(Stream(data), expects, **options).message()
        for options in (
            {},
            {"allocate": buffers.allocate},
            {"allocate": lambda size, room: memoryview(bytearray(size))},  # no room: decoded beside its body
        )
    ]
    for message in messages:
        assert message.row.equal(codec.decode(codec.encode(row), size))
        assert all(message.carried[name].equal(messages[-1].carried[name]) for name in carried)


@pytest.mark.parametrize(
    ("codec", "share"), [(FLOAT32, 0.0), (BFLOAT16, 0.5), (FLOAT16, 0.5), (SPARSE, 1.0)], ids=str
)
def test_what_decoding_takes_is_counted(codec, share):
    frame = received(Stream(model_frame(torch.randn(1000), codec=codec)), expectation(1000))
    assert decoded_bytes(frame.header, frame.expectation) == share * 4000
