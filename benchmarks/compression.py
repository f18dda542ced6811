"""Cost and savings of compressors: bytes of a row, one row between peers, many rows in a simulation.

    OMP_NUM_THREADS=1 python benchmarks/compression.py [--size 1000000] [--nodes 10000] [--width 650] [--repeats 5] [--codecs NAME …] [--json]

Four figures for each codec, all of one run with one thread and by its processor time, codecs taking turns, the best of the repeats:

* bytes of the payload of a row of `--size` numbers, relative to float32;
* encoding and decoding such a row, as two peers do, in copies of the row (a copy is read and written once);
* bytes of float32 that are encoded, and decoded, in a second of a core (processor time, which other work changes little);
* compressing `--nodes` rows of `--width` numbers, as a simulated round does, relative to mixing each with 20 others,
  which the round does besides.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array

from gossipfl.codecs import codec, exchange_keys

DEGREE = 20
CODECS = (
    "bfloat16",
    "int8",
    "qsgd:7",
    "qsgd:127:128",
    "qsgd:256",
    "sign",
    "top:0.01",
    "top:0.1",
    "random:0.01",
    "random:0.1",
)


def seconds(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def best(works: dict[str, object], repeats: int) -> dict[str, float]:
    """Least time of each, after one round to warm up; one after the other, again and again."""
    times = {name: [seconds(work)] for name, work in works.items()}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: min(each[1:]) for name, each in times.items()}


def on_the_way(name: str, row: torch.Tensor):
    way = codec(name)

    def work() -> None:
        way.decode(way.encode(row, key=1), len(row))

    return work


def rate(work, size: int, repeats: int) -> float:
    """Bytes of float32 in a second of processor time, the best of the repeats."""
    times = []
    for _ in range(repeats):
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return 4 * size / min(times)


def rates(name: str, row: torch.Tensor, repeats: int) -> tuple[float, float]:
    way = codec(name)
    payload = way.encode(row, key=1)
    return (
        rate(lambda: way.encode(row, key=1), len(row), repeats),
        rate(lambda: way.decode(payload, len(row)), len(row), repeats),
    )


def measured(codecs: list[str], size: int, nodes: int, width: int, repeats: int) -> list[dict[str, object]]:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    row = torch.randn(size, generator=generator)
    rows = torch.randn(nodes, width, generator=generator)
    keys = exchange_keys(torch.arange(nodes), seed=1, round_number=0)
    neighbours = np.random.default_rng(1).integers(nodes, size=(nodes, DEGREE + 1))
    starts = np.arange(0, neighbours.size + 1, DEGREE + 1)
    weights = np.full(neighbours.size, 1 / (DEGREE + 1), dtype=np.float32)
    W = csr_array((weights, neighbours.reshape(-1), starts), shape=(nodes, nodes))
    numbers = rows.numpy()
    single = best({"copy": row.clone, **{name: on_the_way(name, row) for name in codecs}}, repeats)
    many = best(
        {
            "mixing": lambda: W @ numbers,
            **{name: partial(codec(name).compress, rows, keys=keys) for name in codecs},
        },
        repeats,
    )
    alone = {name: rates(name, row, repeats) for name in codecs}
    return [
        {
            "codec": name,
            "bytes": codec(name).payload_bytes(size) / (4 * size),
            "copies": single[name] / single["copy"],
            "seconds": single[name],
            "encoded": alone[name][0],
            "decoded": alone[name][1],
            "mixings": many[name] / many["mixing"],
            "seconds_many": many[name],
            "seconds_mixing": many["mixing"],
        }
        for name in codecs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=650)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--codecs", nargs="+", default=list(CODECS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measured(options.codecs, options.size, options.nodes, options.width, options.repeats)
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    print("codec          bytes / float32   encode + decode   (ms)   encode   decode   compress all   (ms)")
    print("                                 in copies                GB/s     GB/s     in mixings")
    for each in figures:
        print(
            f"{each['codec']:14} {each['bytes']:14.4f} {each['copies']:16.1f} {1e3 * each['seconds']:8.1f}"
            f" {each['encoded'] / 1e9:8.2f} {each['decoded'] / 1e9:8.2f}"
            f" {each['mixings']:12.2f} {1e3 * each['seconds_many']:8.1f}"
        )


if __name__ == "__main__":
    main()
