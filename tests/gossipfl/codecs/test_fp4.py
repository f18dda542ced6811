"""Four bits as floating point, against the nearest of all values by brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.codecs import payload_of
from gossipfl.codecs.bits import pack
from gossipfl.codecs.registry import codec
from gossipfl.errors import UnexpectedTensor

GRID = torch.tensor([0.0, *(2.0**-k for k in range(7))], dtype=torch.float64)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_numbers_go_to_the_nearest_value_of_their_bucket(numbers, bucket):
    row = torch.tensor(numbers)
    sent = codec(f"fp4:{bucket}").compress(row[None], keys=torch.tensor([0]))[0].double()
    for begin in range(0, len(row), bucket):
        part, got = row[begin : begin + bucket].double(), sent[begin : begin + bucket]
        values = GRID * part.abs().max()
        values = torch.cat([-values, values])
        nearest = (part[:, None] - values).abs().min(dim=1).values
        assert ((part - got).abs() <= nearest * (1 + 1e-6) + 1e-37).all()
        assert all((values.float() == each.float()).any() for each in got)


def test_it_takes_half_a_byte_a_number_and_loses_little():
    row, each = torch.randn(12_800, generator=torch.Generator().manual_seed(0)), codec("fp4")
    payload = each.encode(row)
    assert sum(tensor.header.nbytes for tensor in payload) == each.payload_bytes(12_800) == 6_400 + 4 * 100
    lost = (each.decode(payload, 12_800) - row).square().sum() / row.square().sum()
    assert float(lost) < 0.045  # qsgd:7:128, with as many bits, leaves 0.43


def test_the_sixteenth_symbol_is_refused():
    scales, levels = payload_of("scales", torch.ones(1)), torch.full((8,), 14)
    each = codec("fp4:8")
    assert each.decode([scales, payload_of("levels", pack(levels, 4))], 8).tolist() == [1.0] * 8
    levels[3] = 15
    with pytest.raises(UnexpectedTensor, match="expected 0 to 14; got 15"):
        each.decode([scales, payload_of("levels", pack(levels, 4))], 8)
