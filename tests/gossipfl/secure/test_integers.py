"""Sums of integers by masks that cancel when all are added."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from gossipfl.secure.integers import masked_integers, sum_of_masked


def told(vectors, *, session=bytes(32), field_bytes=8, keys=None):
    """What each member tells."""
    names = [f"member {place}".encode() for place in range(len(vectors))]
    keys = keys or [X25519PrivateKey.from_private_bytes(hashlib.sha256(name).digest()) for name in names]
    public = {name: key.public_key().public_bytes_raw() for name, key in zip(names, keys, strict=True)}
    return [
        masked_integers(
            vector, own=name, private=key, public=public, session=session, field_bytes=field_bytes
        )
        for name, key, vector in zip(names, keys, vectors, strict=True)
    ]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_sum_of_all_is_exact(data):
    members, length = data.draw(st.integers(2, 9)), data.draw(st.integers(0, 5))
    field_bytes = data.draw(st.sampled_from([4, 8, 32]))
    most = 2 ** (8 * field_bytes - 1) // members - 1
    vectors = [
        data.draw(st.lists(st.integers(-most, most), min_size=length, max_size=length))
        for _ in range(members)
    ]
    masked = told(vectors, field_bytes=field_bytes)
    assert all(0 <= each < 2 ** (8 * field_bytes) for vector in masked for each in vector)
    assert sum_of_masked(masked, field_bytes=field_bytes) == [
        sum(column) for column in zip(*vectors, strict=True)
    ]


def test_what_a_member_tells_looks_uniform_whatever_it_is():
    for value in (0, 1, -(10**9)):
        data = b"".join(each.to_bytes(8, "little") for each in told([[value] * 4000] * 3)[0])
        counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
        expected = len(data) / 256
        assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-9, 255)


def test_all_but_one_do_not_sum_up_and_sessions_differ():
    vectors = [[5, 7]] * 4
    first, second = told(vectors), told(vectors, session=b"s" * 32)
    assert sum_of_masked(first[:3], field_bytes=8) != [15, 21]
    assert all(mine != other for mine, other in zip(first, second, strict=True))
    with pytest.raises(ValueError, match="shorter"):
        sum_of_masked([*first[:3], first[3][:1]], field_bytes=8)
