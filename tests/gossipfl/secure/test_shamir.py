"""Secret sharing by its properties: any threshold of shares tells the secret, fewer are uniform."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from gossipfl.secure.shamir import recovered, shared
from tests.gossipfl.secure.sums import Stream


def multiplied(a, b):
    """Product in GF(2⁸) by definition: polynomials modulo x⁸ + x⁴ + x³ + x + 1."""
    product = 0
    for bit in range(8):
        product ^= (a << bit) * (b >> bit & 1)
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << bit - 8
    return product


def test_a_share_is_the_polynomials_value_at_its_point():
    random = bytes([7, 90, 33])
    shares = shared(b"\x2a", shares=5, threshold=4, entropy=lambda count: random[:count])
    for number, share in enumerate(shares):
        x, value = number + 1, 0x2A
        for degree, coefficient in enumerate(random, start=1):
            term = coefficient
            for _ in range(degree):
                term = multiplied(term, x)
            value ^= term
        assert share == bytes([value])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_every_subset_of_the_threshold_tells_the_secret(count):
    secret = bytes(range(200, 216))
    for threshold in range(1, count + 1):
        shares = shared(secret, shares=count, threshold=threshold, entropy=Stream(threshold))
        for numbers in itertools.combinations(range(count), threshold):
            assert recovered({number: shares[number] for number in numbers}) == secret


@settings(deadline=None)
@given(st.data())
def test_any_threshold_of_many_shares_tells_the_secret(data):
    count = data.draw(st.integers(1, 255))
    threshold = data.draw(st.integers(1, min(count, 40)))
    secret = data.draw(st.binary(min_size=1, max_size=32))
    shares = shared(secret, shares=count, threshold=threshold, entropy=Stream(data.draw(st.integers(0, 99))))
    numbers = data.draw(
        st.lists(st.integers(0, count - 1), min_size=threshold, max_size=threshold, unique=True)
    )
    assert recovered({number: shares[number] for number in numbers}) == secret


def test_a_share_less_fits_every_secret_equally_often():
    """With t − 1 shares known, the last may be any byte, and each leads to another secret."""
    shares = shared(b"\x2a", shares=5, threshold=4, entropy=Stream(3))
    known = {number: shares[number] for number in (0, 2, 4)}
    secrets = {recovered({**known, 1: bytes([guess])}) for guess in range(256)}
    assert len(secrets) == 256


def test_shares_are_uniform_whatever_the_secret():
    entropy = Stream(1)
    counts = np.zeros(256)
    for _ in range(40):
        shares = shared(bytes(256), shares=4, threshold=3, entropy=entropy)
        counts += np.bincount(np.frombuffer(shares[2], dtype=np.uint8), minlength=256)
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("shares", "threshold"), [(3, 4), (3, 0), (256, 2)])
def test_impossible_counts_are_refused(shares, threshold):
    with pytest.raises(ValueError, match="threshold"):
        shared(b"secret", shares=shares, threshold=threshold, entropy=Stream(0))


def test_shares_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        recovered({0: b"ab", 1: b"a"})
