"""Rate at which a round's weighted sums gather rows, beside a copy and scipy's sparse product, and what an order of nodes does.

    OMP_NUM_THREADS=1 python -m benchmarks.mixing [--nodes 10000 100000] [--width 650] [--repeats 5]
    OMP_NUM_THREADS=1 python -m benchmarks.mixing --orders [--nodes 100000]

A random 20-regular graph; a sum gathers 21 rows. Rows lie in memory as a simulation's do, in large pages, for the copy as
well, which has one thread or all. Rates are bytes gathered a second, or read and written by the copy, the best of the
repeats, taken in turns: with one thread by processor time, with all by the clock. Results are the same to the bit. With ``--orders``, nodes are numbered as the graph was made, at
random, and by reverse Cuthill-McKee, on that graph and on a ring of which each node knows the twenty nearest.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from sims.engine.allocator import empty
from sims.engine.mixing import Mixing
from sims.engine.workers import Workers
from topology import graphs, mixing

CPU, DEGREE, SEVERAL = torch.device("cpu"), 20, ", all threads"


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--width", type=int, default=650)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--orders", action="store_true")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.width} numbers a row")
    for nodes in chosen.nodes:
        (compare_orders if chosen.orders else compare)(nodes, chosen.width, chosen.repeats)


def rows_of(nodes: int, width: int) -> Tensor:
    """Rows in memory as a simulation's."""
    return empty(nodes, width, dtype=torch.float32).normal_(generator=torch.Generator().manual_seed(0))


def best_of(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each way, in turns: of several threads by the clock, else of the processor."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            clock = time.perf_counter if name.endswith(SEVERAL) else time.process_time
            started = clock()
            way()
            best[name] = min(best[name], clock() - started)
    return best


def named(way: str, threads: int) -> str:
    """Name of a way with so many threads."""
    return f"{way}, one thread" if threads == 1 else f"{way}{SEVERAL}"


def copied(target: Tensor, rows: Tensor, threads: int) -> None:
    """Copy rows."""
    torch.set_num_threads(threads)
    target.copy_(rows)
    torch.set_num_threads(1)


def compare(nodes: int, width: int, repeats: int) -> None:
    """Print the rates with so many nodes."""
    matrix = mixing.metropolis_hastings(graphs.random_regular(nodes, DEGREE, 1))
    single, rows = matrix.astype(np.float32), rows_of(nodes, width)
    target, cores = rows_of(nodes, width), os.cpu_count() or 1
    workers = {count: Workers(count, always=True) for count in sorted({1, cores})}
    mixings = {count: Mixing(matrix, device=CPU, workers=each) for count, each in workers.items()}
    expected = single @ rows.numpy()
    assert all(np.array_equal(mixed(rows).numpy(), expected) for mixed in mixings.values())
    ways: dict[str, Callable[[], object]] = {
        named("copy", count): lambda count=count: copied(target, rows, count)  # type: ignore[misc]
        for count in workers
    }
    ways["scipy"] = lambda: single @ rows.numpy()
    ways |= {
        named("compiled", count): lambda mixed=mixed: mixed(rows)  # type: ignore[misc]
        for count, mixed in mixings.items()
    }
    best = best_of(ways, repeats)
    rate = 2 * rows.nbytes / best[named("copy", 1)]
    print(f"n = {nodes:,}: copy {rate / 1e9:.1f} GB/s")
    for name, seconds in best.items():
        moved = 2 * rows.nbytes if name.startswith("copy") else len(single.data) * width * 4
        if name != named("copy", 1):
            print(f"  {name}: {moved / seconds / 1e9:.1f} GB/s, {moved / seconds / rate:.2f} of the copy's")
    for each in workers.values():
        each.close()


def compare_orders(nodes: int, width: int, repeats: int) -> None:
    """Print the rates of one thread when nodes are numbered one way or another."""
    rows, offsets = rows_of(nodes, width), np.arange(-DEGREE // 2, DEGREE // 2 + 1)
    ends = (np.arange(nodes)[:, None] + offsets) % nodes
    ring = csr_array(
        (np.full(ends.size, 1 / len(offsets)), (np.repeat(np.arange(nodes), len(offsets)), ends.ravel())),
        shape=(nodes, nodes),
    )
    for name, matrix in (
        ("random 20-regular", mixing.metropolis_hastings(graphs.random_regular(nodes, DEGREE, 1))),
        ("ring of twenty nearest", ring),
    ):
        at_random = np.random.default_rng(0).permutation(nodes)
        shuffled = csr_array(matrix[at_random][:, at_random])
        found = reverse_cuthill_mckee(shuffled, symmetric_mode=True)
        orders = {
            "as made": matrix,
            "at random": shuffled,
            "Cuthill-McKee": csr_array(shuffled[found][:, found]),
        }
        mixings = {order: Mixing(each, device=CPU, workers=Workers(1)) for order, each in orders.items()}
        best = best_of(
            {order: lambda mixed=mixed: mixed(rows) for order, mixed in mixings.items()},  # type: ignore[misc]
            repeats,
        )
        rates = ", ".join(
            f"{order} {matrix.nnz * width * 4 / seconds / 1e9:.1f} GB/s" for order, seconds in best.items()
        )
        print(f"n = {nodes:,}, {name}: {rates}", flush=True)


if __name__ == "__main__":
    main()
