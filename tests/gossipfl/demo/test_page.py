"""The page of a demo: what it shows, and whom it kills and revives."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gossipfl.demo.page import DemoPage
from gossipfl.demo.plan import DemoPlan
from gossipfl.demo.watching import Observation
from tests.gossipfl.peer.page.http_client import Client

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)")


def client_of(url):
    port, token = ADDRESS.search(url).groups()
    return Client(int(port), token)


@dataclass
class Process:
    is_up: bool = True
    killed: bool = False

    def kill(self):
        self.is_up, self.killed = False, True

    def restart(self):
        self.is_up, self.killed = True, False


def seen(processes):
    return Observation(
        seconds=1.0,
        statuses=(None,) * len(processes),
        running=tuple(each.is_up for each in processes),
        consensus_distance=None,
    )


@pytest.fixture
def page(tmp_path):
    with DemoPage(DemoPlan(directory=tmp_path / "demo", peers=3)) as page:
        yield page


def test_wishes_are_granted_at_the_next_look_and_two_peers_stay_up(page):
    client, processes = client_of(page.url), [Process() for _ in range(3)]

    def look():
        page.grant(processes)
        page.publish(seen(processes), phase="gossip", metric="accuracy")
        return [each["running"] for each in client.get("/api/demo").json["peers"]]

    assert client.get("/api/demo").json["phase"] == "starting the peers"
    assert look() == [True] * 3
    assert client.post("/api/peers/1/kill").status == client.post("/api/peers/0/kill").status == 202
    assert look() == [True, False, True]  # both were asked for, and two must be up
    assert [each["is_fixed"] for each in client.get("/api/demo").json["peers"]] == [True, False, True]
    assert client.post("/api/peers/0/kill").error == "invalid_request"
    client.post("/api/peers/1/revive")
    client.post("/api/peers/2/revive")  # which is up
    assert look() == [True] * 3
    client.post("/api/finish")
    assert page.is_finished


def test_only_the_token_kills(page):
    page.publish(seen([Process() for _ in range(3)]), phase="gossip", metric="accuracy")
    client = client_of(page.url)
    assert client.request("POST", "/api/peers/0/kill").error == "token_missing"
    assert client.request("POST", "/api/finish").error == "token_missing"
    assert client.post("/api/peers/7/kill").error == "invalid_request"
    assert client.post("/api/peers/0/marry").error == "invalid_request"
    assert client.post("/api/peers/-1/kill").error == "path_unknown"
    page.grant([])  # nobody is killed
    assert not page.is_finished


@pytest.mark.slow
def test_a_demo_with_a_page_from_the_first_process_to_the_summary(tmp_path):
    command = ("demo", "--page", "--peers", "3", "--partition", "iid", "--duration", "200", "--json")
    demo = subprocess.Popen(
        [sys.executable, "-m", "gossipfl", *command, "--out", str(tmp_path / "run")],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        client = client_of(demo.stderr.readline())

        def until(condition, *, seconds=120.0):
            deadline = time.monotonic() + seconds
            while not condition(client.get("/api/demo").json["peers"]):
                assert time.monotonic() < deadline
                time.sleep(0.2)

        until(lambda peers: len(peers) == 3 and all(peer["status"] for peer in peers))
        client.post("/api/peers/1/kill")
        until(lambda peers: not peers[1]["running"])
        client.post("/api/peers/1/revive")
        until(lambda peers: peers[1]["running"] and peers[1]["status"])
        client.post("/api/finish")
        out, err = demo.communicate(timeout=120)
        assert demo.returncode in {0, 1}, err  # so early it need not have converged
        assert '"restarted": [1]' in out
    finally:
        demo.kill()
        demo.wait()
