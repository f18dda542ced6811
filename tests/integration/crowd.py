"""A crowd of whole peers: several in each process, which comes and goes as it is told.

``python -m tests.integration.crowd DIRECTORY BOOTSTRAP INDEX...`` runs peers until its standard input ends. Lines
there are orders: ``stop INDEX`` and ``start INDEX``. Twice a second it writes whom its peers know.
"""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
import trio

from gossipfl.peer import Peer, read_records

from .peers import REPOSITORY, quick_settings

#: Fifty peers on two processors: what takes part of a second for three takes seconds for them.
SETTINGS = {
    "exchange": {"period": 1.0, "patience": 2.0, "deadline": 5.0},
    "view": {"period": 2.0, "size": 16, "exchanged": 8},
    "checkpoint": {"period": 5.0},
    "evaluation": {"period": 5.0},
}


def home_of(directory: Path, index: int) -> Path:
    return directory / f"peer-{index}"


class Members:
    """The peers of this process."""

    def __init__(self, directory: Path, bootstrap: list[str], nursery: trio.Nursery) -> None:
        self.directory, self.bootstrap, self.nursery = directory, bootstrap, nursery
        self.peers: dict[int, Peer] = {}

    def start(self, index: int) -> None:
        settings = quick_settings(index, bootstrap=self.bootstrap, **SETTINGS)
        self.peers[index] = Peer(home_of(self.directory, index), settings=settings)
        self.nursery.start_soon(self._live, index, self.peers[index])

    async def _live(self, index: int, peer: Peer) -> None:
        await peer.run()

    def stop(self, index: int) -> None:
        self.peers.pop(index).stop()

    def described(self) -> dict:
        return {
            index: {
                "peer_id": (status := peer.status()).peer_id,
                "addresses": list(status.addresses),
                "knows": sorted(peer._incarnation.view.neighbours),
                "samples": [held for held in peer._incarnation.view._state.samples if held],
                "accuracy": status.metrics.get("accuracy"),
                "age": status.age,
            }
            for index, peer in self.peers.items()
            if peer.ready.is_set()
        }


async def live(directory: Path, bootstrap: list[str], indices: list[int]) -> None:
    torch.set_num_threads(1)
    async with trio.open_nursery() as nursery:
        members = Members(directory, bootstrap, nursery)
        for index in indices:
            members.start(index)
        nursery.start_soon(describe, members, directory / f"crowd-{indices[0]}.json")
        async with trio.lowlevel.FdStream(os.dup(0)) as orders:
            rest = b""
            async for chunk in orders:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    verb, index = line.decode().split()
                    getattr(members, verb)(int(index))
        nursery.cancel_scope.cancel()


async def describe(members: Members, path: Path) -> None:
    while True:
        path.with_suffix(".new").write_text(json.dumps({"at": time.time(), "peers": members.described()}))
        path.with_suffix(".new").replace(path)
        await trio.sleep(0.5)


class Process:
    """A process of the crowd, as the test sees it."""

    def __init__(self, directory: Path, bootstrap: list[str], indices: list[int]) -> None:
        self.directory, self.indices = directory, set(indices)
        self.path = directory / f"crowd-{indices[0]}.json"
        self.errors = (directory / f"crowd-{indices[0]}.err").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.crowd", str(directory), json.dumps(bootstrap)]
            + [str(index) for index in indices],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stderr=self.errors,
        )

    def order(self, verb: str, index: int) -> None:
        self.process.stdin.write(f"{verb} {index}\n".encode())
        self.process.stdin.flush()
        (self.indices.add if verb == "start" else self.indices.discard)(index)

    def state(self) -> dict[int, dict]:
        """What its peers said last; nothing once it has ended."""
        if self.process.poll() is not None or not self.path.exists():
            return {}
        said = json.loads(self.path.read_text())["peers"]
        return {int(index): state for index, state in said.items() if int(index) in self.indices}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        finally:
            self.kill()
            self.errors.close()


def gaps(directory: Path, index: int, *, after: float, before: float) -> list[float]:
    """Seconds between good exchanges that a peer began, and from each of its starts to the first."""
    moments, found = [], []
    for each in read_records(home_of(directory, index) / "records").to_dicts():
        is_start = each["kind"] == "start"
        if is_start or (each["kind"] == "exchange" and each["outcome"] in ("ok", "mailbox_full")):
            moments.append((each["time"], is_start))
    for (one, _), (other, is_start) in pairwise(moments):
        if not is_start and after <= one and other <= before:
            found.append(other - one)
    return found


if __name__ == "__main__":
    _, place, known, *numbers = sys.argv
    trio.run(live, Path(place), json.loads(known), [int(number) for number in numbers])
