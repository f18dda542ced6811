"""Rows of methods for slow links, of bytes that a hostile member chose: a row or a named error."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.codecs import FLOAT32, Residues, TensorHeader, codec
from gossipfl.errors import MessageRefused, TruncatedFrame
from gossipfl.wire import RoundForm, RoundsExpectation
from tests.gossipfl.wire.frames import Stream, expectation, received
from tests.gossipfl.wire.test_round_messages import AGREEMENT, forged_round

#: What `demo`, `streaming`, `sparseloco`, `noloco`, `saps` and `sparta` send.
CODECS = (
    codec("top:7"),
    codec("top:0.9"),
    codec("fp4"),
    codec("fp4:5"),
    codec("chunk-top:3:64"),
    codec("chunk-top:1:2"),
    Residues(1),
    Residues(5),
    Residues(16),
    FLOAT32,
)
SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 3.4e38, -3.4e38, float("inf"), float("-inf"), float("nan"), -1.0, 1.0]
specials = st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float32).numpy().tobytes()
)


@st.composite
def bodies(draw, length):
    """Bytes of this length, or nearly: any, of one kind, or the patterns of numbers that are none."""
    length = max(0, length + draw(st.sampled_from([0, 0, 0, 0, 0, -1, 1, 8])))
    filling = draw(st.binary(min_size=1, max_size=40) | st.sampled_from([b"\0", b"\xff", b"\x11"]) | specials)
    whole = bytearray((filling * (length // len(filling) + 1))[:length])
    for place in draw(st.lists(st.integers(0, max(length - 1, 0)), max_size=4)):
        whole[place : place + 1] = bytes([draw(st.integers(0, 255))])
    return bytes(whole)


@pytest.mark.parametrize("each", CODECS, ids=lambda codec: codec.name)
@given(data=st.data(), size=st.integers(0, 200))
@settings(max_examples=25)
def test_any_frame_is_a_row_of_finite_numbers_or_a_named_error(each, data, size):
    form = RoundForm(size=size, codecs=(each,))
    expects = replace(expectation(size), rounds=RoundsExpectation(agreement=AGREEMENT, forms=(form,)))
    told = data.draw(
        st.sampled_from([size, size, size, size + 1, 2 * size, 0])
    )  # another number of fragments, say
    headers = [TensorHeader(spec.name, spec.dtype, spec.most) for spec in each.expected(told)]
    length = 0
    for header in headers:
        length = -(-length // 8) * 8 + header.nbytes
    body = data.draw(bodies(length))
    tensors = [[header.name, header.dtype, [*header.shape]] for header in headers]
    stream = Stream(forged_round(body, codec=each.name, tensors=tensors))
    try:
        message = received(stream, expects).message()
    except (MessageRefused, TruncatedFrame):
        pass
    else:
        assert (message.row.shape, message.row.dtype) == ((size,), torch.float32)
        assert bool(torch.isfinite(message.row).all())
    assert sum(stream.asked) <= len(stream.data) + 64
