"""A 100 MB model is copied at most once on its way to bytes, and at most once on its way back."""

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gossipfl.codecs import BFLOAT16, FLOAT16, FLOAT32
from gossipfl.wire import decode_body, encode_model
from tests.gossipfl.wire.frames import SENDER, Stream, expectation, flat, received

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
    assert payload <= receiving < payload + 100_000

    message, decoding = allocated(drained.message)
    assert copies * row.nbytes <= decoding < copies * row.nbytes + 100_000
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
