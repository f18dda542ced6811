import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.codecs import DTYPES, PayloadTensor, TensorSpec, is_finite, payload_of, tensor_of


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3), ()], ids=str)
def test_every_dtype_and_shape_survives(dtype, shape):
    tensor = torch.arange(12).reshape(-1)[: int(np.prod(shape))].reshape(shape).to(dtype)
    read = tensor_of(payload_of("x", tensor))
    assert read.dtype == dtype
    assert read.equal(tensor)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_a_big_endian_host_sends_and_reads_little_endian(dtype):
    tensor = torch.arange(1, 6).to(dtype)
    native = np.frombuffer(payload_of("x", tensor).data, np.uint8).reshape(5, -1)
    # This host keeps the reverse of what a big-endian host keeps, so here the bytes come out reversed.
    swapped = payload_of("x", tensor, byteorder="big")
    assert np.array_equal(np.frombuffer(swapped.data, np.uint8).reshape(5, -1), native[:, ::-1])
    assert tensor_of(swapped, byteorder="big").equal(tensor)


def test_memory_that_is_read_only_or_unaligned_is_copied_and_not_written_through():
    whole = payload_of("x", torch.arange(4.0))
    read_only = tensor_of(whole)
    read_only[0] = 9.0
    assert tensor_of(whole)[0] == 0.0

    shifted = bytearray(17)
    shifted[1:] = whole.data
    unaligned = tensor_of(PayloadTensor(whole.header, memoryview(shifted)[1:]))
    assert unaligned.equal(torch.arange(4.0))
    assert unaligned.data_ptr() % 4 == 0


def test_a_specification_admits_a_range_of_shapes():
    spec = TensorSpec("indices", "int32-le", (10,), (2,))
    tensors = {n: payload_of("indices", torch.zeros(n, dtype=torch.int32)).header for n in (1, 2, 10, 11)}
    assert [n for n, header in tensors.items() if spec.admits(header)] == [2, 10]
    assert str(spec) == "indices int32-le [2] to [10]"


@given(st.lists(st.floats(width=32), max_size=70))
def test_finite_means_no_nan_and_no_infinity(numbers):
    tensor = torch.tensor(numbers, dtype=torch.float32)
    assert is_finite(tensor) == bool(torch.isfinite(tensor).all())


@pytest.mark.parametrize("place", [0, 1, 31_337, 99_998, 99_999])
def test_one_nan_anywhere_in_a_large_tensor_is_found(place):
    tensor = torch.ones(100_000)
    assert is_finite(tensor)
    tensor[place] = float("nan")
    assert not is_finite(tensor)
    tensor[place] = torch.finfo(torch.float32).max
    assert is_finite(tensor)
