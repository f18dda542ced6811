"""One codec of each kind, and rows that are hard on them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from gossipfl.codecs import PayloadTensor

#: Every family, with and without buckets, with few and many levels, with indices, a bitmap and a seed.
NAMES = (
    "float32",
    "bfloat16",
    "float16",
    "int8",
    "int8:7",
    "fp4",
    "fp4:5",
    "qsgd:1",
    "qsgd:16:128",
    "qsgd:256",
    "qsgd-shrunk:3",
    "qsgd-shrunk:1:10",
    "sign",
    "sign:9",
    "top:1",
    "top:20",
    "top:0.01",
    "top:0.5",
    "chunk-top:3:64",
    "chunk-top:5:7",
    "random:2",
    "random:0.1",
    "random-scaled:3",
    "random-scaled:0.6",
)

numbers = st.floats(-60000, 60000, width=32)


def rows(elements=numbers, *, most=200):
    return hnp.arrays(np.float32, st.integers(0, most), elements=elements).map(torch.from_numpy)


def received(payload):
    """The payload as a receiver has it: the same bytes in memory of its own."""
    return [PayloadTensor(each.header, memoryview(bytearray(each.data))) for each in payload]


def hard_rows(size: int, *, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Rows at the edges of what a codec may claim."""
    generator = torch.Generator().manual_seed(size)
    normal = torch.randn(size, generator=generator).to(dtype)
    spike, one_small = torch.zeros(size, dtype=dtype), torch.full((size,), 1.0, dtype=dtype)
    spike[size // 2], one_small[-1] = -3.7, 1e-12
    return {
        "normal": normal,
        "zeros": torch.zeros(size, dtype=dtype),
        "one spike": spike,
        "all equal": torch.full((size,), -0.3, dtype=dtype),
        "equal but for one": one_small,
        "falling by halves": 0.5 ** torch.arange(size).to(dtype).clamp(max=60),
        "heavy tails": normal**7,
        "huge": normal * 1e30,
        "tiny": normal * 1e-30,
        "negative zeros": torch.full((size,), -0.0, dtype=dtype),
    }
