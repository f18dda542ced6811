"""Networks of peers on one machine: predictions beside training, joining, exchanges, CPU and memory.

Peers are forked from a process that has imported torch, as in `gossipfl demo`, so what they share is counted once:
`own_mb` is what a peer would give back if it ended (USS).
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from gossipfl.demo.warm import WarmProcess, warm_up
from gossipfl.errors import HomeError
from gossipfl.network import load_or_create_identity
from gossipfl.peer import Home, read_status
from gossipfl.settings import parse_settings

PREDICTIONS = 2000
WARM_UP = 50
SECONDS = 20.0


class Peer:
    def __init__(self, directory, number, *, peers, bootstrap=(), **tables):
        self.home = Home(directory / f"peer-{number}")
        options = {"partition": "iid", "peers": peers, "index": number, "seed": 0}
        settings = {
            "task": {"name": "digits", "options": options},
            "runtime": {"number": number},
            "network": {"bootstrap": list(bootstrap), "silence_seconds": 60.0},
            **tables,
        }
        self.home.directory.mkdir(mode=0o700, parents=True)
        load_or_create_identity(self.home.directory)
        self.home.create(parse_settings(settings, source="a benchmark"))
        self.began = time.perf_counter()
        arguments = ["peer", "run", "--plain", "--until-stdin-ends", "--home", str(self.home.directory)]
        self.process = WarmProcess(arguments, log=self.home.directory / "log")

    def status(self):
        try:
            status = read_status(self.home.status)
        except HomeError:
            return None
        return status if status["process"] == self.process.pid else None

    def until(self, reached, *, seconds=180.0):
        deadline = time.monotonic() + seconds
        while (status := self.status()) is None or not reached(status):
            if time.monotonic() > deadline or not self.process.is_up:
                raise TimeoutError(
                    f"{self.home.directory}: {(self.home.directory / 'log').read_text()[-500:]}"
                )
            time.sleep(0.02)
        return status


@contextmanager
def peers_in(directory):
    """A function that starts peers, which end with the block."""
    with ExitStack() as stack:

        def started(number, **options):
            peer = Peer(directory, number, **options)
            stack.callback(peer.process.kill)
            return peer

        warm_up()
        yield started


def merged(status):
    return sum(peer["merges"] for peer in status["peers"])


def measure_predictions():
    """Latency of one sample a request, on one connection, while the peer trains with three neighbours."""
    with tempfile.TemporaryDirectory() as name, peers_in(Path(name)) as start:
        busy = {"exchange": {"period": 0.1, "deadline": 10.0}}
        first = start(0, peers=4, page={"enabled": True}, **busy)
        bootstrap = first.until(lambda status: status["page"])["addresses"]
        for number in range(1, 4):
            start(number, peers=4, bootstrap=bootstrap, **busy)
        before = first.until(lambda status: merged(status) >= 10)
        token = first.home.page_token.read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        port = int(before["page"].rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps({"inputs": [[0.5] * 64]})
        seconds, began = [], 0.0
        for number in range(WARM_UP + PREDICTIONS):
            if number == WARM_UP:
                began, before = time.perf_counter(), first.status()
            start_at = time.perf_counter()
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            seconds.append(time.perf_counter() - start_at)
            time.sleep(0.005)
        steps = (first.status()["step"] - before["step"]) / (time.perf_counter() - began)
        quantiles = statistics.quantiles(seconds[WARM_UP:], n=1000)
    return {
        "predictions": PREDICTIONS,
        "p50_ms": round(1000 * quantiles[499], 2),
        "p99_ms": round(1000 * quantiles[989], 2),
        "p999_ms": round(1000 * quantiles[998], 2),
        "training_steps_per_second": round(steps, 1),
    }


def measure_network(count):
    """Peers with the default settings, and one more that joins them."""
    with tempfile.TemporaryDirectory() as name, peers_in(Path(name)) as start:
        first = start(0, peers=count + 1)
        bootstrap = first.until(lambda status: status["step"] >= 1)["addresses"]
        peers = [first, *(start(number, peers=count + 1, bootstrap=bootstrap) for number in range(1, count))]
        for peer in peers:
            peer.until(lambda status: merged(status) >= 1)
        processes = [psutil.Process(peer.process.pid) for peer in peers]
        before = [(peer.status(), each.cpu_times()) for peer, each in zip(peers, processes, strict=True)]
        began = time.perf_counter()
        time.sleep(SECONDS)
        elapsed = time.perf_counter() - began
        after = [(peer.status(), each.cpu_times()) for peer, each in zip(peers, processes, strict=True)]
        pairs = list(zip(before, after, strict=True))
        cpu = [b[1].user + b[1].system - a[1].user - a[1].system for a, b in pairs]
        exchanges = [
            b[0]["network"]["messages_received"] - a[0]["network"]["messages_received"] for a, b in pairs
        ]
        memory = [each.memory_full_info() for each in processes]
        newcomer = start(count, peers=count + 1, bootstrap=bootstrap)
        newcomer.until(lambda status: merged(status) >= 1)
        joined = time.perf_counter() - newcomer.began
        estimates = [peer.status()["estimates"] for peer in peers]
    known = [each["peers"] for each in estimates if each is not None]
    return {
        "peers": count,
        "join_seconds": round(joined, 2),
        "messages_received_per_second_of_a_peer": round(statistics.fmean(exchanges) / elapsed, 2),
        "cpu_percent_of_a_core": round(100 * statistics.fmean(cpu) / elapsed, 1),
        "resident_mb": round(statistics.fmean(each.rss for each in memory) / 1e6, 1),
        "own_mb": round(statistics.fmean(each.uss for each in memory) / 1e6, 1),
        "estimated_peers": f"{min(known):.0f}-{max(known):.0f}" if known else "none",
    }
