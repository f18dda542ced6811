"""Memory of peers that exchange large models, in rows: resident bytes over the bytes of a model.

Each peer is a process of its own on this machine. Peers exchange without pause; from the peak of each is taken what
a process holds that has imported torch and the task. With ``--once``, one host sends one model to another; the peaks
are those during the exchange beyond what both held before it, the sender its model.

    python benchmarks/memory.py [--json] [--megabytes 100] [--codec float32] [--peers 3] [--seconds 30] | [--once]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import trio
from torch import nn

from gossipfl.codecs import codec
from gossipfl.network import Identity, open_host
from gossipfl.tasks import Dataset, Task
from gossipfl.wire import Acknowledgement, Expectation, encode, encode_model

WIDTH = 1024


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
    from gossipfl.peer.threads import wait_for_abandoned
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
    wait_for_abandoned(30.0)


def expectation_of(arguments):
    """What both hosts of one exchange expect."""
    size = int(arguments.megabytes * 1e6 / 4)
    return Expectation(task=bytes(32), layout=bytes(32), size=size, codecs=(codec(arguments.codec),))


async def receive_one(arguments):
    """Be the host that receives; say where it is first."""

    async def take(_, message):
        return encode(
            Acknowledgement(incarnation=message.header.incarnation, sequence=message.header.sequence)
        )

    async with open_host(Identity.generate(), expectation=expectation_of(arguments)) as host:
        host.serve(take)
        print(json.dumps([host.peer_id, *host.addresses]), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


async def send_one(arguments):
    """Be the host that sends, once told to; say how many seconds it took."""
    expectation = expectation_of(arguments)
    row = torch.randn(expectation.size)
    about = {"task": bytes(32), "layout": bytes(32), "age": 1, "incarnation": 1, "sequence": 1, "event": 1}
    async with open_host(Identity.generate(), expectation=expectation) as host:
        print("[]", flush=True)
        peer_id, *addresses = json.loads(await trio.to_thread.run_sync(sys.stdin.readline))
        start = time.perf_counter()
        encoded = partial(encode_model, row, codec=expectation.codecs[0], **about)
        await host.exchange(peer_id, addresses, await trio.to_thread.run_sync(encoded), seconds=300)
        print(json.dumps(time.perf_counter() - start), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


def measure_once(arguments):
    """Give the rows that sender and receiver need beyond the model, and the seconds."""
    processes = []
    try:
        processes.append(started("receiver", arguments, "--codec", arguments.codec))
        processes.append(started("sender", arguments, "--codec", arguments.codec))
        (receiver, where), (sender, _) = processes
        before = []
        for process in (sender, receiver):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak is that from now on
            before.append(memory_of(process.pid, "VmRSS"))
        sender.stdin.write(json.dumps(where) + "\n")
        sender.stdin.flush()
        seconds = json.loads(sender.stdout.readline())
        peaks = [memory_of(process.pid, "VmHWM") for process in (sender, receiver)]
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()
    row = 4 * expectation_of(arguments).size
    rows = [round((peak - held) / row, 2) for peak, held in zip(peaks, before, strict=True)]
    return {
        "row_mb": row / 1e6,
        "sender_rows": rows[0],
        "receiver_rows": rows[1],
        "seconds": round(seconds, 2),
    }


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
    parser.add_argument(
        "--once", action="store_true", help="one exchange between two hosts, without learning"
    )
    roles = ("bare", "peer", "sender", "receiver")
    parser.add_argument("--role", choices=roles, help=argparse.SUPPRESS)
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
    if arguments.role is not None:
        trio.run(send_one if arguments.role == "sender" else receive_one, arguments)
        return
    outcome = measure_once(arguments) if arguments.once else measure(arguments)
    if arguments.json:
        print(json.dumps(outcome))
        return
    for name, value in outcome.items():
        print(f"{name:>14}: {value}")


if __name__ == "__main__":
    main()
