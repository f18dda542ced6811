"""Rate at which a round's weighted sums gather rows, beside a copy and scipy's sparse product.

    OMP_NUM_THREADS=1 python -m benchmarks.mixing [--nodes 10000 100000] [--width 650] [--repeats 5]

A random 20-regular graph; a sum gathers 21 rows. Rates are bytes gathered a second, or read and written by the copy, the best of the repeats,
taken in turns; results are the same to the bit.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch

from sims.engine.mixing import Mixing
from sims.engine.workers import Workers
from topology import graphs, mixing


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--width", type=int, default=650)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.width} numbers a row")
    for nodes in chosen.nodes:
        compare(nodes, chosen.width, chosen.repeats)


def compare(nodes: int, width: int, repeats: int) -> None:
    """Print the rates with so many nodes."""
    matrix = mixing.metropolis_hastings(graphs.random_regular(nodes, 20, 1))
    single = matrix.astype(np.float32)
    rows = torch.randn(nodes, width, generator=torch.Generator().manual_seed(0))
    target = torch.empty_like(rows)
    threads = {count: Workers(count, always=True) for count in (1, os.cpu_count() or 1)}
    ways: dict[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(rows),
        "scipy": lambda: single @ rows.numpy(),
    }
    mixings = {
        f"compiled, {count} threads": Mixing(matrix, device=torch.device("cpu"), workers=workers)
        for count, workers in threads.items()
    }
    ways |= {name: lambda mixed=mixed: mixed(rows) for name, mixed in mixings.items()}  # type: ignore[misc]
    expected = single @ rows.numpy()
    assert all(np.array_equal(mixed(rows).numpy(), expected) for mixed in mixings.values())
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - started)
    copied = 2 * rows.nbytes / best["copy"]
    gathered = (len(single.data)) * rows.shape[1] * rows.element_size()
    print(f"n = {nodes:,}: copy {copied / 1e9:.1f} GB/s")
    for name, seconds in best.items():
        if name != "copy":
            print(
                f"  {name}: {gathered / seconds / 1e9:.1f} GB/s, {gathered / seconds / copied:.2f} of the copy's"
            )
    for workers in threads.values():
        workers.close()


if __name__ == "__main__":
    main()
