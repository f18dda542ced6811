"""Cost of a peer: memory at rest, time to its first exchange, start-up, predictions, and networks of peers.

    python benchmarks/peer.py [--json] [--rounds N]
    python benchmarks/peer.py --predict [--json]            # POST /predict beside training
    python benchmarks/peer.py --network 10 25 50 [--json]   # exchanges, CPU and memory of each peer

Baselines of the same run: a bare interpreter, and one that only imports torch, libp2p, or both. Memory is
the resident set, and of it what is the process's own (USS: not shared through the page cache).
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
from peer_networks import measure_network, measure_predictions

GOSSIPFL = [sys.executable, "-m", "gossipfl"]
IMPORTS = {
    "bare interpreter": "",
    "torch": "import torch",
    "libp2p": "import libp2p",
    "torch and libp2p": "import torch, libp2p",
}
IDLE = ["--exchange-patience", "100000"]  # nobody to talk to, nothing to train for


def memory_of(process):
    info = psutil.Process(process.pid).memory_full_info()
    return {"resident_mb": round(info.rss / 1e6, 1), "own_mb": round(info.uss / 1e6, 1)}


def memory_of_imports(statement):
    """Memory once the imports are done."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{statement}\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        return memory_of(process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def peer(home, *options):
    """Make and run a peer; give its process and the moment it was started."""
    subprocess.run([*GOSSIPFL, "peer", "init", "--home", home, *options], check=True, capture_output=True)
    began = time.perf_counter()
    process = subprocess.Popen(
        [*GOSSIPFL, "peer", "run", "--home", home, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process, began
    finally:
        process.terminate()
        process.communicate(timeout=20)


def wait_for(condition, *, seconds=60.0):
    deadline = time.perf_counter() + seconds
    while not (found := condition()):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.005)
    return found


def first_exchange(home):
    """Whether the records of a peer hold an exchange that succeeded."""
    return any(
        '"kind":"exchange"' in line and '"outcome":"ok"' in line
        for file in (home / "records").glob("*.jsonl")
        for line in file.read_text().splitlines()
    )


def measure_idle(directory):
    """Memory of a peer with the digits task that has nobody to talk to, after its first evaluation."""
    home = directory / "idle"
    with peer(home, *IDLE) as (process, _began):
        process.stdout.readline()
        time.sleep(3)
        return memory_of(process)


def measure_start(directory, number, address):
    """Seconds from the start of a process to its first exchange with a peer that is up."""
    home = directory / f"newcomer-{number}"
    options = ["--network-bootstrap", address, "--exchange-period", "0.05", "--exchange-jitter", "0"]
    with peer(home, *options) as (_process, began):
        wait_for(lambda: first_exchange(home))
        return time.perf_counter() - began


def timed(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def measure(rounds):
    imports = {name: memory_of_imports(statement) for name, statement in IMPORTS.items()}
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import torch, libp2p": [sys.executable, "-c", IMPORTS["torch and libp2p"]],
        "gossipfl --help": [*GOSSIPFL, "--help"],
        "gossipfl peer run --help": [*GOSSIPFL, "peer", "run", "--help"],
    }
    first = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        idle = measure_idle(directory)
        of_stopped = ["--home", str(directory / "idle")]
        commands["gossipfl peer status"] = [
            "sh",
            "-c",
            f"{shlex.join(GOSSIPFL)} peer status {shlex.join(of_stopped)} || [ $? = 3 ]",
        ]
        commands["gossipfl doctor"] = [*GOSSIPFL, "doctor", *of_stopped]
        seconds = {name: [] for name in commands}
        with peer(directory / "neighbour", *IDLE) as (process, _began):
            address = json.loads(process.stdout.readline())["addresses"][0]
            for number in range(rounds):
                for command_name, command in commands.items():
                    seconds[command_name].append(timed(command))
                first.append(measure_start(directory, number, address))
    return {
        "memory": {**imports, "idle peer, digits": idle},
        "seconds": {
            **{name: round(statistics.median(values), 3) for name, values in seconds.items()},
            "process start to first exchange": round(statistics.median(first), 3),
        },
        "rounds": rounds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("--network", type=int, nargs="+", metavar="PEERS")
    arguments = parser.parse_args()
    if arguments.predict or arguments.network:
        rows = [measure_network(peers) for peers in arguments.network or ()]
        for row in rows if arguments.network else [measure_predictions()]:
            print(
                json.dumps(row)
                if arguments.json
                else "  ".join(f"{name} {value}" for name, value in row.items())
            )
        return
    result = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
        return
    memory, seconds = result["memory"], result["seconds"]
    libraries = memory["torch and libp2p"]
    print("| memory | resident MB | own MB | ratio to torch and libp2p (resident) |\n|---|---|---|---|")
    for name, each in memory.items():
        ratio = each["resident_mb"] / libraries["resident_mb"]
        print(f"| {name} | {each['resident_mb']} | {each['own_mb']} | {ratio:.2f} |")
    print("\n| time | seconds (median) | ratio to importing torch and libp2p |\n|---|---|---|")
    for name, each in seconds.items():
        print(f"| {name} | {each:.2f} | {each / seconds['import torch, libp2p']:.2f} |")


if __name__ == "__main__":
    main()
