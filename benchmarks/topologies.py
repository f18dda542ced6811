"""Building random-regular graphs, weighting them, and mixing rows with them, from 10³ to 10⁶ nodes.

    OMP_NUM_THREADS=1 python benchmarks/topologies.py [--sizes 1000 10000 100000 1000000] [--degree 20] [--columns 650]

Every size runs in a process of its own, so that its peak memory is its own. Baselines, measured in the same
run: networkx building and weighting the same kind of graph (up to ``--networkx`` nodes; beyond 10⁵ it takes minutes),
and a plain copy of as many bytes as the product must touch at least once (W's arrays, X read, Y
written).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path


def seconds(function, repeats=1):
    """Least processor time of several calls, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        del result
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best, result


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(n, degree, columns):
    import numpy as np
    from scipy.sparse import csr_array

    from topology import graphs, mixing

    row = {"nodes": n, "degree": degree, "columns": columns}
    row["build_seconds"], graph = seconds(
        lambda: graphs.random_regular(n, degree, 1), 3 if n <= 10_000 else 1
    )
    row["build_peak_bytes"] = peak_bytes()
    row["weights_seconds"], W = seconds(partial(mixing.metropolis_hastings, graph), 3)
    row["weights_peak_bytes"] = peak_bytes()
    del graph
    single = csr_array((W.data.astype(np.float32), W.indices, W.indptr), shape=W.shape)
    del W
    # Ones cost nothing to draw; the product's time does not depend on the values.
    X = np.ones((n, columns), dtype=np.float32)
    repeats = 3 if n <= 100_000 else 1
    row["product_seconds"], Y = seconds(partial(single.__matmul__, X), repeats)
    assert abs(float(Y[0].sum()) - columns) < 1e-3 * columns
    row["product_peak_bytes"] = peak_bytes()
    row["bytes_touched"] = (
        X.nbytes + Y.nbytes + single.data.nbytes + single.indices.nbytes + single.indptr.nbytes
    )
    row["bytes_gathered"] = single.nnz * columns * 4
    del X, Y
    # A copy reads and writes: half the bytes each way. The target is touched first, as the product's is not.
    row["copy_seconds"] = copy_seconds(row["bytes_touched"], repeats)
    return row


def copy_seconds(touched, repeats):
    import numpy as np

    source = np.ones(touched // 2, dtype=np.uint8)
    return seconds(source.copy, repeats)[0]


def measure_networkx(n, degree):
    import networkx as nx
    import numpy as np
    from scipy.sparse import csr_array

    row = {}
    row["networkx_build_seconds"], graph = seconds(lambda: nx.random_regular_graph(degree, n, seed=1))

    def weights():
        """The same weights by the graph's own adjacency: what a networkx user would write."""
        A = nx.to_scipy_sparse_array(graph, dtype=np.float64, format="coo")
        degrees = np.array([d for _, d in graph.degree])
        data = 1.0 / (1.0 + np.maximum(degrees[A.row], degrees[A.col]))
        W = csr_array((data, (A.row, A.col)), shape=A.shape)
        W.setdiag(1.0 - W.sum(axis=1))
        return W

    row["networkx_weights_seconds"], _ = seconds(weights)
    row["networkx_peak_bytes"] = peak_bytes()
    return row


def in_own_process(kind, n, degree, columns):
    # -P: this file is called like the package it measures, and must not be imported in its place.
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "--measure", kind, "--sizes", str(n)]
    command += ["--degree", str(degree), "--columns", str(columns)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"measuring {kind} at n = {n} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def with_ratios(row):
    row["product_over_copy"] = row["product_seconds"] / row["copy_seconds"]
    gathering, copying = (
        row["bytes_gathered"] / row["product_seconds"],
        row["bytes_touched"] / row["copy_seconds"],
    )
    row["gather_rate_over_copy_rate"] = gathering / copying
    if "networkx_build_seconds" in row:
        row["networkx_over_build"] = row["networkx_build_seconds"] / row["build_seconds"]
        row["networkx_over_weights"] = row["networkx_weights_seconds"] / row["weights_seconds"]
    return row


def show(rows):
    print(
        "ratios: networkx time / ours (building, weights); product time / copy of what it must touch;\n"
        "        bytes a second of rows gathered (one a nonzero of W, no reuse) / bytes a second of the copy"
    )
    for row in rows:
        build, weights = row.get("networkx_over_build"), row.get("networkx_over_weights")
        against = f"{build:6.1f} {weights:6.1f}" if build else "skipped: networkx takes minutes"
        print(
            f"  n = {row['nodes']:>9,}   {against}   {row['product_over_copy']:6.2f}"
            f"   {row['gather_rate_over_copy_rate']:5.2f}"
        )
    print("seconds (build, weights, product, copy) and peak GiB of the process (build, weights, product)")
    for row in rows:
        times = [row[f"{name}_seconds"] for name in ("build", "weights", "product", "copy")]
        peaks = [row[f"{name}_peak_bytes"] / 2**30 for name in ("build", "weights", "product")]
        print(
            f"  n = {row['nodes']:>9,}   "
            + " ".join(f"{value:9.4f}" for value in times)
            + "   "
            + " ".join(f"{value:6.2f}" for value in peaks)
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--degree", type=int, default=20)
    parser.add_argument("--columns", type=int, default=650)
    parser.add_argument("--networkx", type=int, default=100_000, help="largest size of the baseline")
    parser.add_argument("--json", action="store_true", help="print one JSON object a size")
    parser.add_argument("--measure", choices=["ours", "networkx"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        n = options.sizes[0]
        row = (
            measure(n, options.degree, options.columns)
            if options.measure == "ours"
            else measure_networkx(n, options.degree)
        )
        print(json.dumps(row))
        return
    rows = []
    for n in options.sizes:
        row = in_own_process("ours", n, options.degree, options.columns)
        if n <= options.networkx:
            row |= in_own_process("networkx", n, options.degree, options.columns)
        rows.append(with_ratios(row))
    if options.json:
        for row in rows:
            print(json.dumps(row))
    else:
        show(rows)


if __name__ == "__main__":
    main()
