"""The fixed-point ring against Python's integers and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import NumberOutOfRange, SettingError
from gossipfl.secure import FixedPoint, ring_sum


def nearest(value):
    """To the nearest integer, ties to even, of a Fraction."""
    return round(value)


@given(
    st.sampled_from([32, 64]),
    st.sampled_from([0.5, 1.0, 3.0, 64.0]),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8),
    st.integers(1, 16),
)
def test_a_sum_is_that_of_the_integers(bits, largest, numbers, eighths):
    ring = FixedPoint(largest=largest, bits=bits)
    row = np.array(numbers, dtype=np.float32) * np.float32(ring.bound)
    weight = eighths / 16
    encoded = ring.encode(row, weight=weight)
    assert encoded.dtype == np.dtype(f"<u{bits // 8}")
    exact = [Fraction(float(x)) * Fraction(weight) * 2**ring.fraction for x in row]
    if bits == 32:  # beyond 2⁵³ the product is rounded to float64 first
        assert [int(e) for e in encoded] == [nearest(x) % 2**bits for x in exact]
    total = ring_sum([encoded] * 3, like=encoded)
    assert [int(e) for e in total] == [3 * int(e) % 2**bits for e in encoded]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("count", [3, 100, 128])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_does_not_wrap(bits, count, sign):
    ring = FixedPoint(largest=64.0, bits=bits)
    row = np.full(2, sign * ring.bound, dtype=np.float32)
    total = ring_sum([ring.encode(row, weight=1 / count)] * count, like=ring.encode(row))
    assert ring.decode(total) == pytest.approx(sign * ring.bound, rel=1e-6)


@given(st.floats(-64, 64, width=32), st.floats(0.01, 1))
def test_an_encoded_number_is_right_to_half_a_unit(number, weight):
    ring = FixedPoint(largest=64.0)
    decoded = ring.decode(ring.encode(np.array([number], dtype=np.float32), weight=weight))[0]
    assert abs(decoded - weight * number) <= 0.5001 * 2.0**-ring.fraction


@pytest.mark.parametrize("number", [64.1, -1e30, np.inf, np.nan])
def test_a_number_out_of_range_is_refused_by_name(number):
    with pytest.raises(NumberOutOfRange, match="at most 64"):
        FixedPoint(largest=64.0).encode(np.array([0.0, number], dtype=np.float32), weight=0.25)


@pytest.mark.parametrize("weight", [0.0, -0.5, 1.01])
def test_a_weight_that_could_overflow_is_refused(weight):
    with pytest.raises(NumberOutOfRange, match="weight"):
        FixedPoint(largest=1.0).encode(np.zeros(1, dtype=np.float32), weight=weight)


@pytest.mark.parametrize("largest", [0.0, -1.0, np.nan, np.inf, 1e-9, 1e9])
def test_a_range_that_leaves_no_bits_is_refused(largest):
    with pytest.raises(SettingError):
        FixedPoint(largest=largest)
