"""Rows longer than a block, which `Int8` writes and reads piece by piece."""

import numpy as np
import pytest
import torch

from gossipfl.codecs import Int8


def by_the_definition(row, bucket):
    """Levels, scales and decoded numbers, bucket by bucket in NumPy."""
    levels, scales, decoded = [], [], []
    for first in range(0, len(row), bucket):
        part = row[first : first + bucket]
        scale = np.abs(part).max()
        level = np.rint(part / (scale or np.float32(1)) * np.float32(127))
        levels.append((level + 127).astype(np.uint8))
        scales.append(scale)
        decoded.append(level / np.float32(127) * scale)
    return np.concatenate(levels), np.array(scales, np.float32), np.concatenate(decoded)


@pytest.mark.parametrize("bucket", [256, 1000, 2**17 + 3, 300_000])
@pytest.mark.parametrize("size", [2**17, 2**17 + 1, 300_001])
def test_a_long_row_is_written_as_the_definition_says(bucket, size):
    generator = np.random.default_rng(size)
    row = generator.standard_normal(size).astype(np.float32)
    row[size // 2 : size // 2 + 1500] = 0
    levels, scales, decoded = by_the_definition(row, bucket)
    codec = Int8(bucket=bucket)
    payload = codec.encode(torch.from_numpy(row))
    assert [bytes(tensor.data) for tensor in payload] == [scales.tobytes(), levels.tobytes()]
    np.testing.assert_array_equal(codec.decode(payload, size).numpy(), decoded)
