"""The demo as its readers run it: the whole command, real peers, and the promise it makes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gossipfl.demo.summary import Summary
from gossipfl.network import load_identity
from tests.gossipfl.cli.test_main import cli

from .peers import REPOSITORY, Home, records_of

__all__ = ["cli"]


def demo(out: Path, *flags: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "gossipfl", "demo", "--out", str(out), *map(str, flags)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_a_small_demo_converges_though_a_peer_is_killed(tmp_path):
    """Three peers with all classes each, and a horizon so short that starting the processes takes longest."""
    flags = "--peers 3 --partition iid --training-decay-age 400 --kill 1 --seed 4 --json"
    done = demo(tmp_path / "run", *flags.split())
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    assert set(summary) == set(Summary.__dataclass_fields__)
    assert summary["converged"] is True
    assert summary["killed"] == summary["restarted"] == [2]
    assert len(summary["gossip"]) == summary["peers"] == 3
    assert summary["gossip_worst"] == min(summary["gossip"])
    assert summary["gap_points"] == pytest.approx(
        100 * (summary["pooled"] - summary["gossip_worst"]), abs=0.01
    )
    assert summary["bytes"] > 100 * summary["messages"] > 0
    assert summary["seconds"] >= summary["startup_seconds"] + summary["gossip_seconds"]
    assert Path(summary["picture"]).read_bytes().startswith(b"\x89PNG")
    # What it says is what the peers' own homes hold.
    for index in range(3):
        home = Home(tmp_path / "run" / f"peer-{index}")
        starts = records_of(home, "start")
        assert [start["peer"] for start in starts] == [load_identity(home.directory).peer_id] * len(starts)
        assert len(starts) == (2 if index == 2 else 1)
        assert records_of(home, "saved")[-1]["age"] >= 400
        assert not home.is_running()


def test_a_demo_without_time_does_not_converge_and_says_so(cli, tmp_path):
    flags = ("--out", tmp_path / "run", "--peers", 2, "--duration", 0.5, "--training-decay-age", 100)
    code, out, err = cli("demo", *flags)
    assert (code, err) == (1, "")
    assert "NOT within 2" in out
    for part in ("alone, mean", "gossip, worst peer", "all data pooled", "messages", "seconds"):
        assert part in out


@pytest.mark.slow
@pytest.mark.parametrize("kill", [0, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eight_peers_are_as_good_as_pooled_training_in_a_minute(tmp_path, seed, kill):
    """The README's promise. Its minute is for two cores of one's own: it is reported, not required."""
    done = demo(tmp_path / "run", "--seed", seed, "--kill", kill, "--json")
    summary = json.loads(done.stdout)
    print({key: summary[key] for key in ("gap_points", "gossip_worst", "pooled", "alone_mean", "seconds")})
    assert done.returncode == 0, summary
    assert summary["gap_points"] <= 2.0
    assert summary["alone_mean"] < 0.45
    assert summary["pooled"] > 0.94
    assert len(summary["killed"]) == kill
    assert len(summary["restarted"]) == min(kill, 1)
