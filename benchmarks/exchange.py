"""Exchanges of whole messages against a bare stock libp2p stream and a bare TCP socket, in the same run.

An exchange is all of it: encode, send, receive, verify, decode, answer. Both ends are processes of their own
on this machine, each computing with one thread; what is compared takes turns, round by round, so that a busy
machine harms all alike. The bare ends send ready bytes, in their best way, and answer with two bytes.

    python benchmarks/exchange.py [--json] [--rounds N] [--only goodput|overhead|latency]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
import torch
import trio
from exchange_ends import KINDS, LIMITS, expectation, frame_of
from rich.console import Console
from rich.table import Table

from gossipfl.network import Identity, open_host

ENDS = Path(__file__).with_name("exchange_ends.py")
OURS, STOCK, TCP = KINDS
MESSAGES = {10_000: 100, 1_000_000: 20, 100_000_000: 2}  # a round
NAMES = {10_000: "10 kB", 1_000_000: "1 MB", 100_000_000: "100 MB"}
LATENCY_BYTES = 10_000


@contextmanager
def answering_process(kind, payload_bytes, *options):
    """Run the answering end of `kind`; give its process, peer id and addresses."""
    process = subprocess.Popen(
        [sys.executable, ENDS, kind, str(payload_bytes), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        peer_id, addresses = json.loads(process.stdout.readline())
        yield psutil.Process(process.pid), peer_id, addresses
    finally:
        process.kill()
        process.communicate()


async def take_turns(payload_bytes, *, rounds, messages, options=()):
    """Exchange with all kinds in turn.

    Returns
    -------
    dict
        For each kind: the seconds of each message, and the CPU seconds of both ends; not of the first round.
    """
    seconds = {kind: [] for kind in KINDS}
    cpu = dict.fromkeys(KINDS, 0.0)
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            ends = {}
            for kind, (_, connect) in KINDS.items():
                process, *where = processes.enter_context(answering_process(kind, payload_bytes, *options))
                ends[kind] = process, await clients.enter_async_context(connect(payload_bytes, *where))
            for turn in range(rounds + 1):
                for kind, (process, once) in ends.items():
                    before = cpu_seconds(process) + time.process_time()
                    for _ in range(messages):
                        start = time.perf_counter()
                        await once()
                        if turn:  # the first round warms up
                            seconds[kind].append(time.perf_counter() - start)
                    if turn:
                        cpu[kind] += cpu_seconds(process) + time.process_time() - before
    return {kind: (seconds[kind], cpu[kind]) for kind in KINDS}


def cpu_seconds(process):
    times = process.cpu_times()
    return times.user + times.system


async def measure_goodput(*, rounds):
    """Goodput in MB/s (median and best message) and CPU seconds per GB of both ends, by size and kind."""
    rows = []
    for payload_bytes, messages in MESSAGES.items():
        outcome = await take_turns(payload_bytes, rounds=rounds, messages=messages)
        kinds = {
            kind: {
                "median_mb_per_s": payload_bytes / statistics.median(seconds) / 1e6,
                "best_mb_per_s": payload_bytes / min(seconds) / 1e6,
                "cpu_s_per_gb": cpu / (payload_bytes * len(seconds)) * 1e9,
            }
            for kind, (seconds, cpu) in outcome.items()
        }
        rows.append(
            {
                "size": NAMES[payload_bytes],
                "ratio_to_libp2p_stream": kinds[OURS]["median_mb_per_s"] / kinds[STOCK]["median_mb_per_s"],
                "ratio_of_best": kinds[OURS]["best_mb_per_s"] / kinds[STOCK]["best_mb_per_s"],
                "ratio_to_tcp_socket": kinds[OURS]["median_mb_per_s"] / kinds[TCP]["median_mb_per_s"],
                "kinds": kinds,
            }
        )
    return rows


async def measure_overhead(*, rounds):
    """Bytes beyond the numbers of the row: of the frame itself, and of all that TCP carried."""
    rows = []
    for payload_bytes in MESSAGES:
        with answering_process(OURS, payload_bytes) as (_, peer_id, addresses):
            row = torch.randn(payload_bytes // 4)
            async with open_host(
                Identity.generate(), expectation=expectation(payload_bytes), limits=LIMITS
            ) as host:
                frame = frame_of(row, 1)
                await host.exchange(peer_id, addresses, frame)
                before = acknowledged_bytes(host)
                for sequence in range(2, rounds + 2):
                    await host.exchange(peer_id, addresses, frame_of(row, sequence))
                sent = (acknowledged_bytes(host) - before) / rounds
        rows.append(
            {
                "size": NAMES[payload_bytes],
                "frame": frame.size / payload_bytes - 1,
                "on_the_wire": sent / payload_bytes - 1,
            }
        )
    return rows


def acknowledged_bytes(host):
    """Bytes that TCP sent on the host's only connection and that were acknowledged (Linux's tcp_info)."""
    [connection] = host._table.all()
    information = connection._socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    return struct.unpack_from("=Q", information, 120)[0]


async def measure_latency(*, rounds):
    """Round trips of 10 kB in ms, with the answering peer idle and with its training saturating a core.

    The interpreter lets a computing thread run for 5 ms before the event loop has its turn; less is asked for
    in the last state.
    """
    rows = []
    states = {
        "idle": (),
        "training": ("--train",),
        "training, turns of 0.2 ms": ("--train", "--switch-interval", "0.0002"),
    }
    for state, options in states.items():
        outcome = await take_turns(LATENCY_BYTES, rounds=rounds, messages=40, options=options)
        kinds = {}
        for kind, (seconds, _) in outcome.items():
            ordered = sorted(seconds)
            kinds[kind] = {
                "p50_ms": statistics.median(ordered) * 1e3,
                "p95_ms": ordered[int(0.95 * len(ordered))] * 1e3,
            }
        rows.append(
            {
                "answering_peer": state,
                "ratio_to_libp2p_stream": kinds[OURS]["p50_ms"] / kinds[STOCK]["p50_ms"],
                "kinds": kinds,
            }
        )
    return rows


# A measurement is an async function of `rounds` that returns rows for `--json`; and how to show them.
MEASUREMENTS = {"goodput": measure_goodput, "overhead": measure_overhead, "latency": measure_latency}


def show(console, name, rows):
    if name == "goodput":
        table = Table("size", "÷ libp2p stream", "÷ TCP", *(f"{kind} MB/s" for kind in KINDS), title=name)
        for kind in KINDS:
            table.add_column(f"{kind} CPU-s/GB")
        for row in rows:
            kinds = row["kinds"].values()
            table.add_row(
                row["size"],
                f"{row['ratio_to_libp2p_stream']:.2f}",
                f"{row['ratio_to_tcp_socket']:.2f}",
                *(f"{each['median_mb_per_s']:.0f} (best {each['best_mb_per_s']:.0f})" for each in kinds),
                *(f"{each['cpu_s_per_gb']:.1f}" for each in kinds),
            )
    elif name == "overhead":
        table = Table("size", "frame", "on the wire", title=name)
        for row in rows:
            table.add_row(row["size"], f"{row['frame']:.4%}", f"{row['on_the_wire']:.4%}")
    else:
        table = Table("answering peer", "÷ libp2p stream", *(f"{kind} ms" for kind in KINDS), title=name)
        for row in rows:
            kinds = row["kinds"].values()
            table.add_row(
                row["answering_peer"],
                f"{row['ratio_to_libp2p_stream']:.2f}",
                *(f"p50 {each['p50_ms']:.2f}, p95 {each['p95_ms']:.2f}" for each in kinds),
            )
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each kind (default 6)")
    parser.add_argument("--only", choices=MEASUREMENTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    outcome = {}
    for name, measure in MEASUREMENTS.items():
        if arguments.only in (None, name):
            outcome[name] = trio.run(lambda measure=measure: measure(rounds=arguments.rounds))
            if not arguments.json:
                show(Console(width=150), name, outcome[name])
    if arguments.json:
        print(json.dumps(outcome, indent=2))


if __name__ == "__main__":
    main()
