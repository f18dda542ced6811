"""Products of many small matrices: the kernels of compiled programmes beside torch's batched product (MKL).

    OMP_NUM_THREADS=1 python -m benchmarks.products

Shapes are those of the workloads W1 and W2 of `benchmarks/simulator.py`, 32 nodes with 20 samples each. One thread;
microseconds of processor time a product, the best of 15.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from pathlib import Path

import torch

import sims.engine.products

ENTRY = """
#include <cstdint>
#include "{source}"
extern "C" void product(const float* a, const int64_t* as, const float* b, const int64_t* bs, float* out,
                        int64_t B, int64_t M, int64_t K, int64_t N) {{
  products::product(a, as, b, bs, out, B, M, K, N);
}}
"""
BATCH = 32
# What it is, rows, inner dimension, columns, and which of the two matrices is stored transposed.
SHAPES = [
    ("W1, outputs", 10, 64, 20, False, True),
    ("W1, slopes of weights", 10, 20, 64, False, False),
    ("W2, hidden layer", 20, 64, 128, False, True),
    ("W2, outputs", 10, 128, 20, False, True),
    ("W2, slopes of the hidden layer", 20, 10, 128, True, False),
    ("W2, slopes of its weights", 128, 20, 64, True, False),
]


def kernel(folder):
    """Compile the kernels as inductor compiles what it generates."""
    source, library = folder / "entry.cpp", folder / "entry.so"
    source.write_text(ENTRY.format(source=Path(sims.engine.products.__file__).with_suffix(".cpp")))
    flags = ["-O1", "-march=native", "-std=c++20", "-shared", "-fPIC"]
    subprocess.run([os.environ.get("CXX", "g++"), *flags, source, "-o", library], check=True)
    return ctypes.CDLL(str(library)).product


def matrices(rows, columns, *, transposed):
    """A batch of them."""
    return (
        torch.randn(BATCH, columns, rows).transpose(1, 2) if transposed else torch.randn(BATCH, rows, columns)
    )


def microseconds(run, repeats):
    """Processor time of a product, the best of 15."""
    best = float("inf")
    for _ in range(15):
        started = time.process_time()
        for _ in range(repeats):
            run()
        best = min(best, (time.process_time() - started) / repeats / BATCH)
    return 1e6 * best


def main():
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f}; torch µs, ours µs, GFLOP/s of ours, ratio")
    with tempfile.TemporaryDirectory() as folder:
        product = kernel(Path(folder))
        for name, rows, inner, columns, left_turned, right_turned in SHAPES:
            left = matrices(rows, inner, transposed=left_turned)
            right = matrices(inner, columns, transposed=right_turned)
            result = torch.empty(BATCH, rows, columns)
            strides = [(ctypes.c_int64 * 3)(*each.stride()) for each in (left, right)]
            places = [ctypes.c_void_p(each.data_ptr()) for each in (left, right, result)]
            sizes = [ctypes.c_int64(size) for size in (BATCH, rows, inner, columns)]
            given = (places[0], strides[0], places[1], strides[1], places[2], *sizes)
            product(*given)
            assert torch.allclose(result, left @ right, rtol=1e-4, atol=1e-4)
            torchs = microseconds(lambda left=left, right=right: torch.bmm(left, right), 100)
            ours = microseconds(lambda given=given: product(*given), 100)
            rate = 2 * rows * inner * columns / ours / 1e3
            print(f"{name:31} {torchs:6.2f} {ours:6.2f} {rate:6.0f} {torchs / ours:6.2f}")


if __name__ == "__main__":
    main()
