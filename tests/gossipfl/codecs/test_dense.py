import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossipfl.codecs import BFLOAT16, CODECS, FLOAT16, FLOAT32, PayloadTensor, TensorHeader, codec
from gossipfl.errors import NonFiniteUpdate, UnexpectedTensor, UnknownCodec
from tests.gossipfl.codecs.sparse import LargestEntries

half_range = st.floats(-60000, 60000, width=32)


def rows(elements=half_range):
    return hnp.arrays(np.float32, st.integers(0, 200), elements=elements).map(torch.from_numpy)


def received(payload):
    """The payload as a receiver has it: the same bytes in memory of its own."""
    return [PayloadTensor(each.header, memoryview(bytearray(each.data))) for each in payload]


@given(rows(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_float32_is_exact(row):
    decoded = FLOAT32.decode(received(FLOAT32.encode(row)), len(row))
    assert decoded.view(torch.int32).equal(row.view(torch.int32))


@given(rows())
def test_float16_rounds_as_numpy_does(row):
    decoded = FLOAT16.decode(received(FLOAT16.encode(row)), len(row))
    assert np.array_equal(decoded.numpy(), row.numpy().astype(np.float16).astype(np.float32))


@given(rows())
def test_bfloat16_rounds_to_nearest_even_of_the_upper_16_bits(row):
    bits = row.numpy().view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    decoded = BFLOAT16.decode(received(BFLOAT16.encode(row)), len(row))
    assert np.array_equal(decoded.numpy(), rounded)


@pytest.mark.parametrize("each", CODECS.values(), ids=CODECS)
def test_bytes_are_little_endian_and_of_the_stated_length(each):
    (payload,) = each.encode(torch.tensor([1.0, -2.0]))
    expected = {"float32": "0000803f000000c0", "bfloat16": "803f00c0", "float16": "003c00c0"}
    assert payload.data.tobytes().hex() == expected[each.name]
    assert payload.header.nbytes == payload.data.nbytes == each.expected(2)[0].most_bytes
    assert payload.data.readonly


def test_float32_is_never_copied():
    row = torch.randn(1000)
    (payload,) = FLOAT32.encode(row)
    address = np.frombuffer(payload.data, np.uint8).ctypes.data
    assert address == row.data_ptr()

    buffer = torch.frombuffer(bytearray(payload.data), dtype=torch.uint8)
    decoded = FLOAT32.decode([PayloadTensor(payload.header, buffer.numpy().data)], 1000)
    assert decoded.data_ptr() == buffer.data_ptr()
    decoded[0] = 7.0
    assert buffer.view(torch.float32)[0] == 7.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("each", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("place", [0, 500, 998])
def test_a_row_that_diverged_is_not_sent(each, bad, place):
    row = torch.zeros(999)
    row[place] = bad
    with pytest.raises(NonFiniteUpdate, match="learning rate"):
        each.encode(row)


@pytest.mark.parametrize(("each", "large"), [(FLOAT16, 65520.0), (BFLOAT16, 3.4e38)], ids=str)
def test_a_row_too_large_for_16_bits_is_named_with_its_remedy(each, large):
    with pytest.raises(NonFiniteUpdate, match=f"does not fit into {each.name}.*float32"):
        each.encode(torch.tensor([0.0, -large]))


def test_the_largest_number_of_float16_still_fits():
    assert FLOAT16.decode(received(FLOAT16.encode(torch.tensor([65504.0]))), 1).item() == 65504.0


@pytest.mark.parametrize(
    "row", [torch.zeros(2, 2), torch.zeros(3, dtype=torch.float64), torch.tensor(1.0)], ids=str
)
def test_only_single_float32_rows_are_encoded(row):
    with pytest.raises(UnexpectedTensor, match="float32"):
        FLOAT32.encode(row)


def test_rows_that_require_gradients_or_are_strided_are_encoded():
    row = torch.arange(6.0, requires_grad=True)
    assert FLOAT32.encode(row)[0].data.tobytes() == row.detach().numpy().tobytes()
    strided = torch.arange(6.0)[::2]
    assert FLOAT32.encode(strided)[0].data.tobytes() == strided.numpy().tobytes()


@pytest.mark.parametrize(
    "header",
    [
        TensorHeader("row", "float32-le", (4,)),
        TensorHeader("row", "float32-le", (2,)),
        TensorHeader("row", "float32-le", (3, 1)),
        TensorHeader("row", "float16-le", (3,)),
        TensorHeader("other", "float32-le", (3,)),
        TensorHeader("row", "no such dtype", (3,)),
    ],
    ids=str,
)
def test_a_payload_of_another_form_is_not_decoded(header):
    with pytest.raises(UnexpectedTensor):
        FLOAT32.decode([PayloadTensor(header, memoryview(bytearray(12)))], 3)


def test_a_payload_with_too_few_bytes_or_tensors_is_not_decoded():
    header = TensorHeader("row", "float32-le", (3,))
    with pytest.raises(UnexpectedTensor, match="bytes"):
        FLOAT32.decode([PayloadTensor(header, memoryview(bytearray(11)))], 3)
    with pytest.raises(UnexpectedTensor, match="number of tensors"):
        FLOAT32.decode([], 3)


def test_an_unknown_codec_is_named_together_with_the_known():
    assert codec("bfloat16") is BFLOAT16
    with pytest.raises(UnknownCodec, match=r"float32 or bfloat16 or float16 or .*; got 'zip'"):
        codec("zip")


@given(rows(), st.integers(1, 50))
def test_the_seam_fits_a_codec_of_several_tensors_and_variable_size(row, count):
    sparse = LargestEntries(count)
    payload = sparse.encode(row)
    assert all(
        spec.admits(each.header) for spec, each in zip(sparse.expected(len(row)), payload, strict=True)
    )
    decoded = sparse.decode(received(payload), len(row))
    kept = decoded != 0
    assert decoded[kept].equal(row[kept])
    assert int(kept.sum()) == min(count, int((row != 0).sum()))
