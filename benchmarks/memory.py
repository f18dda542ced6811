"""Memory of peers that exchange large models without pause, in rows: resident bytes over the bytes of a model.

Each peer is a process of its own on this machine. From its peak is taken what a process holds that has imported
torch and the task.

    python benchmarks/memory.py [--json] [--megabytes 100] [--peers 3] [--seconds 30] [--codec float32]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import trio
from torch import nn

from gossipfl.tasks import Dataset, Task

WIDTH = 1024
START_SECONDS = 90.0


def task_of(megabytes):
    """A network of equal layers, whose rows have about so many MB."""
    layers = max(1, round(megabytes * 1e6 / 4 / WIDTH**2))

    def model():
        middle = [part for _ in range(layers) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        return nn.Sequential(nn.Linear(64, WIDTH), *middle, nn.Linear(WIDTH, 10))

    def data():
        generator = torch.Generator().manual_seed(os.getpid())
        inputs = torch.randn(64, 64, generator=generator)
        targets = inputs[:, :10].argmax(dim=1)
        return Dataset(train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets)

    return Task(name=f"layers-{layers}", model=model, data=data)


def memory_of(pid, key):
    """Kilobytes that the kernel gives under a key, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def run_peer(arguments):
    """Be one peer, until the standard input ends; say the address first."""
    from gossipfl.peer import Peer
    from gossipfl.settings import PeerSettings

    settings = PeerSettings.model_validate(
        {
            "exchange": {"period": arguments.period, "codec": arguments.codec},
            "evaluation": {"period": 5.0},
            "checkpoint": {"period": 5.0},
            "training": {"batch_size": 8, "learning_rate": 0.01},
            "network": {"bootstrap": arguments.bootstrap},
        }
    )

    async def run():
        peer = Peer(arguments.home, settings=settings, task=task_of(arguments.megabytes))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await peer.ready.wait()
            print(json.dumps(peer.status().addresses), flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)
            peer.stop()

    trio.run(run)


def started(role, arguments, *options):
    """Start this file in a role; return the process and what it says first."""
    command = [sys.executable, __file__, "--role", role, "--megabytes", str(arguments.megabytes), *options]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return process, json.loads(process.stdout.readline())


def measure(arguments):
    """Give the bytes of a row, of the baseline, and of each peer's peak."""
    layout = task_of(arguments.megabytes).layout
    processes = []
    try:
        bare, _ = started("bare", arguments)
        processes.append(bare)
        baseline = memory_of(bare.pid, "VmHWM")
        peers, bootstrap, statuses = [], [], []
        with tempfile.TemporaryDirectory() as directory:
            for index in range(arguments.peers):
                home = f"{directory}/{index}"
                options = ["--home", home, "--codec", arguments.codec, "--period", str(arguments.period)]
                process, addresses = started("peer", arguments, *options, "--bootstrap", *bootstrap)
                processes.append(process)
                peers.append(process)
                bootstrap = bootstrap or addresses[:1]
            starts = [memory_of(peer.pid, "VmHWM") for peer in peers]
            end = time.monotonic() + arguments.seconds
            while time.monotonic() < end:
                time.sleep(arguments.seconds / 5)
                now = [(memory_of(peer.pid, "VmRSS") - baseline) / 4 / layout.size for peer in peers]
                print("rows now:", *(f"{each:.1f}" for each in now), file=sys.stderr, flush=True)
            peaks = [memory_of(peer.pid, "VmHWM") for peer in peers]
            for peer in peers:
                peer.stdin.close()
            for index, peer in enumerate(peers):
                peer.wait(30)
                statuses.append(json.loads(Path(f"{directory}/{index}/status.json").read_text()))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    row = 4 * layout.size
    return {
        "row_mb": row / 1e6,
        "baseline_mb": baseline / 1e6,
        "rows_at_start": [round((each - baseline) / row, 2) for each in starts],
        "rows": [round((peak - baseline) / row, 2) for peak in peaks],
        "models_sent": [round(each["network"]["bytes_sent"] / row, 1) for each in statuses],
        "models_received": [round(each["network"]["bytes_received"] / row, 1) for each in statuses],
        "failed": [each["network"]["failed"] for each in statuses],
        "events": [each["event"] for each in statuses],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--megabytes", type=float, default=100.0, help="bytes of a row, in MB")
    parser.add_argument("--peers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they exchange")
    parser.add_argument("--codec", default="float32")
    parser.add_argument("--period", type=float, default=0.5, help="seconds between a peer's exchanges")
    parser.add_argument("--role", choices=("bare", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--home", help=argparse.SUPPRESS)
    parser.add_argument("--bootstrap", nargs="*", default=[], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "bare":
        print("[]", flush=True)
        sys.stdin.read()
        return
    if arguments.role == "peer":
        run_peer(arguments)
        return
    outcome = measure(arguments)
    if arguments.json:
        print(json.dumps(outcome))
        return
    for name, value in outcome.items():
        print(f"{name:>14}: {value}")


if __name__ == "__main__":
    main()
