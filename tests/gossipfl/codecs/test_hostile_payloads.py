"""Whatever bytes come, decoding gives a row or names what is wrong."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.codecs import DTYPES, PayloadTensor, TensorHeader, codec, payload_of
from gossipfl.codecs.bits import pack
from gossipfl.errors import UnexpectedTensor
from tests.gossipfl.codecs.made import NAMES, received

each_codec = pytest.mark.parametrize("name", NAMES)
SIZE = 300


def forged(name, data):
    """The tensors a reader would admit, filled with any bytes."""
    tensors = []
    for spec in codec(name).expected(SIZE):
        header = TensorHeader(spec.name, spec.dtype, spec.most)
        body = data.draw(st.binary(min_size=header.nbytes, max_size=header.nbytes))
        tensors.append(PayloadTensor(header, memoryview(bytearray(body))))
    return tensors


@each_codec
@given(data=st.data())
@settings(max_examples=25)
def test_any_bytes_in_the_right_form(name, data):
    try:
        row = codec(name).decode(forged(name, data), SIZE)
    except UnexpectedTensor:
        return
    assert (row.shape, row.dtype) == ((SIZE,), torch.float32)


@each_codec
@given(data=st.data())
@settings(max_examples=25)
def test_a_payload_with_a_bit_turned_is_refused_or_read(name, data):
    payload = received(codec(name).encode(torch.randn(SIZE), key=4))
    tensor = payload[data.draw(st.integers(0, len(payload) - 1))]
    if tensor.data.nbytes:
        tensor.data[data.draw(st.integers(0, tensor.data.nbytes - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        row = codec(name).decode(payload, SIZE)
    except UnexpectedTensor:
        return
    assert row.shape == (SIZE,)


headers = st.builds(
    TensorHeader,
    st.sampled_from(["row", "values", "indices", "bitmap", "seed", "scales", "levels", "other"]),
    st.sampled_from([*DTYPES, "no such dtype"]),
    st.lists(st.integers(0, 2**63), max_size=3).map(tuple),
)


@each_codec
@given(forms=st.lists(headers, max_size=3), body=st.binary(max_size=64))
@settings(max_examples=25)
def test_any_form_over_any_bytes(name, forms, body):
    """Sizes as large as a header can claim: nothing is allocated for them."""
    tensors = [PayloadTensor(form, memoryview(bytearray(body))) for form in forms]
    with contextlib.suppress(UnexpectedTensor):
        codec(name).decode(tensors, SIZE)


def values(count):
    return payload_of("values", torch.ones(count))


def indices(*numbers, width=9):
    return payload_of("indices", pack(torch.tensor(numbers), width))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([values(3), indices(1, 2, 300)], "out of range"),
        ([values(3), indices(1, 2, 511)], "out of range"),
        ([values(3), indices(5, 5, 6)], "do not ascend"),
        ([values(3), indices(7, 5, 6)], "do not ascend"),
        ([values(2), indices(1, 2, 3)], "values float32-le \\[3\\]"),
        ([values(4), indices(1, 2, 3)], "values float32-le \\[3\\]"),
        ([values(3), indices(1, 2)], "indices uint8 \\[4\\]"),
        ([values(3), indices(1, 2, 3, 0)], "indices uint8 \\[4\\]"),
        ([values(3)], "number of tensors"),
        ([values(3), payload_of("indices", torch.tensor([1, 4, 12, 255], dtype=torch.uint8))], "bit after"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_indices_that_are_wrong_are_named(tensors, said):
    assert codec("top:3").decode([values(3), indices(0, 2, 299)], SIZE).nonzero()[:, 0].tolist() == [
        0,
        2,
        299,
    ]
    with pytest.raises(UnexpectedTensor, match=said):
        codec("top:3").decode(tensors, SIZE)


@pytest.mark.parametrize(
    ("chosen", "lookup", "said"),
    [
        ((1, 2, 8, 9, 3, 4), (1.0, 1, 1, 1), None),  # two chunks of ten numbers, and a last one of five
        ((1, 2, 10, 8, 9, 3), (1.0, 1, 1, 1), "out of range.*got 10"),
        ((1, 2, 8, 9, 3, 5), (1.0, 1, 1, 1), "out of range.*expected 0 to 4"),
        ((2, 2, 8, 9, 3, 4), (1.0, 1, 1, 1), "do not ascend"),
        ((1, 2, 8, 9, 4, 3), (1.0, 1, 1, 1), "do not ascend"),
        ((1, 2, 8, 9, 3, 4), (1.0, float("nan"), 1, 1), "lookup is not finite"),
        ((1, 2, 8, 9, 3, 4), (1.0, 1, float("inf"), 1), "lookup is not finite"),
    ],
)
def test_chunks_that_are_wrong_are_named(chosen, lookup, said):
    tensors = [
        payload_of("lookup", torch.tensor(lookup)),
        payload_of("levels", pack(torch.zeros(6, dtype=torch.int64), 2)),
        indices(*chosen, width=4),
    ]
    each = codec("chunk-top:2:10")
    if said is None:
        assert each.decode(tensors, 25).nonzero()[:, 0].tolist() == [1, 2, 18, 19, 23, 24]
        return
    with pytest.raises(UnexpectedTensor, match=said):
        each.decode(tensors, 25)


def test_a_bitmap_must_mark_as_many_as_there_are_values():
    each = codec("top:0.5")
    payload = each.encode(torch.randn(SIZE))
    assert payload[1].header.name == "bitmap"
    other = pack(torch.tensor([1] * 151 + [0] * 149), 1)
    with pytest.raises(UnexpectedTensor, match="expected 150; got 151"):
        each.decode([payload[0], payload_of("bitmap", other)], SIZE)
    with pytest.raises(UnexpectedTensor, match="bit after"):
        whole = torch.full((38,), 255, dtype=torch.uint8)
        each.decode([payload[0], payload_of("bitmap", whole)], SIZE)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("name", ["qsgd:16", "qsgd-shrunk:2", "sign", "int8:300"])
def test_scales_that_are_no_lengths_are_refused(name, scale):
    _, levels = codec(name).encode(torch.randn(SIZE))
    with pytest.raises(UnexpectedTensor, match="a scale is not a length"):
        codec(name).decode([payload_of("scales", torch.tensor([scale])), levels], SIZE)


@pytest.mark.parametrize(("name", "width", "largest"), [("qsgd:16", 6, 32), ("int8:300", 8, 254)])
def test_levels_beyond_the_last_are_refused(name, width, largest):
    for symbol, fine in ((largest, True), (largest + 1, False)):
        levels = payload_of("levels", pack(torch.full((SIZE,), symbol), width))
        tensors = [payload_of("scales", torch.tensor([2.0])), levels]
        if fine:
            assert codec(name).decode(tensors, SIZE).tolist() == [2.0] * SIZE
        else:
            with pytest.raises(UnexpectedTensor, match=f"expected 0 to {largest}; got {largest + 1}"):
                codec(name).decode(tensors, SIZE)
