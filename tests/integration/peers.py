"""Whole peers for tests: in this program, or as processes started by the command an operator would use."""

import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from gossipfl.errors import HomeError
from gossipfl.peer import Home, Peer, read_records, read_status
from gossipfl.settings import PeerSettings, parse_settings

from .forked import ForkedProcess

REPOSITORY = Path(__file__).parents[2]
TASK = "tests.integration.tasks:blobs"

#: What makes small peers quick: a test sees in seconds what takes an operator's peers minutes.
QUICK = {
    "exchange": {"period": 0.05, "deadline": 3.0, "patience": 0.3},
    "view": {"period": 0.2},
    "network": {"silence_seconds": 6.0},
    "checkpoint": {"period": 0.2},
    "evaluation": {"period": 0.5},
}

#: Refusals of peers that have no time: a mailbox is full, or a row came too late.
BUSY = {"peer_busy", "exchange_timed_out"}


def quick_settings(index=0, *, bootstrap=(), options=None, outgoing=(), **tables) -> PeerSettings:
    """Settings of a quick peer; ``tables`` replace single values, as ``exchange={"period": 1}``.

    The table ``bootstrap`` is ``bootstrap_``.
    """
    merged = {name: dict(table) for name, table in QUICK.items()}
    merged["task"] = {"name": TASK, "options": {"index": index, **(options or {})}}
    merged["runtime"] = {"number": index}
    for table, values in tables.items():
        merged.setdefault(table.rstrip("_"), {}).update(values)
    merged["network"]["bootstrap"] = list(bootstrap)
    merged["outgoing"] = list(outgoing)
    return parse_settings(merged, source="a test")


@asynccontextmanager
async def running(*peers: Peer):
    """Run peers in this program; all are ready inside the block, and have left a checkpoint after it."""
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(peer.run)
        with trio.fail_after(90):
            for peer in peers:
                await peer.ready.wait()
        yield peers
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def network_of(directory: Path, count: int, *, first: int = 0, **changes):
    """Peers that know each other through the first one of them."""
    hub = Peer(directory / f"peer-{first}", settings=quick_settings(first, **changes))
    async with running(hub):
        bootstrap = hub.status().addresses
        others = [
            Peer(directory / f"peer-{index}", settings=quick_settings(index, bootstrap=bootstrap, **changes))
            for index in range(first + 1, first + count)
        ]
        async with running(*others):
            yield [hub, *others]


def refused_for_cause(peer: Peer) -> dict[str, int]:
    """What a peer refused, and how often, but for what a busy machine alone may cause."""
    return {what: n for what, n in peer.counters.refused.items() if what not in BUSY}


class PeerProcess:
    """``gossipfl peer run`` in a process of its own, from nothing, or ``forked`` (see `ForkedProcess`).

    One from nothing may run in a network namespace.
    """

    def __init__(
        self, directory: Path, settings: PeerSettings, *, forked: bool = False, namespace: str | None = None
    ) -> None:
        self.home = Home(directory)
        self.home.create(settings)
        self.forked = forked
        self.namespace = namespace
        self._prefix = () if namespace is None else ("ip", "netns", "exec", namespace)
        self.process: subprocess.Popen | ForkedProcess | None = None

    def start(self, *flags: str) -> "PeerProcess":
        if self.forked:
            arguments = ["peer", "run", "--home", str(self.home.directory), *flags]
            out, err = (str(self.home.directory / name) for name in ("out", "err"))
            self.process = ForkedProcess(arguments, out=out, err=err)
            return self
        with (self.home.directory / "out").open("ab") as out, (self.home.directory / "err").open("ab") as err:
            self.process = subprocess.Popen(
                [
                    *self._prefix,
                    *(sys.executable, "-m", "gossipfl", "peer", "run"),
                    *("--home", str(self.home.directory), *flags),
                ],
                cwd=REPOSITORY,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def out(self) -> str:
        return self._written("out")

    @property
    def err(self) -> str:
        return self._written("err")

    def _written(self, name: str) -> str:
        path = self.home.directory / name  # a forked process makes it once it runs
        return path.read_text() if path.exists() else ""

    def status(self):
        """What this very process last said, or None."""
        try:
            status = read_status(self.home.status)
        except HomeError:
            return None
        return status if status["process"] == self.process.pid else None

    def is_at(self, **least) -> bool:
        """Whether the process runs and has reached, say, ``event=10``; fails if it has ended."""
        assert self.process.poll() is None, f"the peer ended by itself: {self.err}"
        status = self.status()
        return status is not None and all(status[key] >= value for key, value in least.items())

    def until_at(self, *, seconds=60.0, **least):
        """Wait until `is_at`, in a test without an event loop."""
        deadline = time.monotonic() + seconds
        while not self.is_at(**least):
            assert time.monotonic() < deadline, f"the peer did not reach {least}: {self.status()}, {self.err}"
            time.sleep(0.05)
        return self.status()


def records_of(home: Home, kind: str) -> list[dict]:
    """All whole records of a kind, as dictionaries, in order."""
    return [each for each in read_records(home.records).to_dicts() if each["kind"] == kind]


def record_lines(home: Home) -> list[dict]:
    """All whole records with nothing but their own keys."""
    lines = []
    for path in sorted(home.records.glob("*.jsonl")):
        content = path.read_bytes()
        lines += [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    return lines
