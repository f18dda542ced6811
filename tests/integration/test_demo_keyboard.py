"""The demo of keyboards as its readers run it: the whole command, real peers, and the promise it makes."""

import json
import os
import re
import subprocess
import sys
import threading

import pytest

from gossipfl.demo.summary import Summary
from gossipfl.peer import Home
from tests.gossipfl.peer.page.http_client import Client

from .peers import REPOSITORY
from .test_demo import demo
from .test_keyboard import assert_nowhere

pytest.importorskip("wordfreq")

CANARY = "xylophonequokka"
SMALL = ["--training-decay-age", "60", "--training-batch-size", "16", "--exchange-period", "0.1"]


@pytest.fixture
def authors(tmp_path):
    """Three authors, each with a habit of their own and others in common."""
    folder = tmp_path / "authors"
    folder.mkdir()
    common = ("I will see you at home", "we are going to the house today", "they said it was a long day")
    for name, own in (
        ("ada", "thank you for the music"),
        ("ben", "the army is good"),
        ("eva", "what a week"),
    ):
        (folder / f"{name}.txt").write_text("\n\n".join([*common, own] * 60))
    return folder


def test_a_small_demo_of_keyboards_says_how_its_authors_compare(tmp_path, authors):
    out = tmp_path / "run"
    done = demo(out, "keyboard", "--text", authors, "--peers", 3, "--kill", 1, "--json", *SMALL)
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    assert set(summary) == set(Summary.__dataclass_fields__)
    assert done.returncode == (0 if summary["converged"] else 1)
    gap, reach = summary["gap_mean_points"], summary["gap_reach_points"]
    assert summary["converged"] is (gap + reach <= 2 and summary["gain_mean_points"] > 0)
    assert summary["killed"] == [2]
    assert summary["gossip"][2] is None or summary["restarted"] == [2]
    survivors = [index for index in range(3) if summary["gossip"][index] is not None]
    assert len(summary["personal"]) == len(survivors)
    means = [sum(summary[kind][i] for i in survivors) / len(survivors) for kind in ("gossip", "alone")]
    assert summary["gossip_mean"] == pytest.approx(means[0])
    assert summary["gain_mean_points"] == pytest.approx(100 * (means[0] - means[1]), abs=1e-3)
    assert summary["gap_mean_points"] == pytest.approx(100 * (summary["pooled"] - means[0]), abs=1e-3)
    assert summary["personal_mean"] > 0.5  # of what is said again and again
    assert summary["bytes_a_peer"] > 0


def test_one_can_type_on_a_peer_of_the_demo(tmp_path, authors):
    pytest.importorskip("hypercorn")
    out = tmp_path / "run"
    arguments = ["keyboard", "--page", "--text", authors, "--out", out, "--peers", 2, "--json", *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-m", "gossipfl", "demo", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(180, process.kill)  # a demo that says nothing would be waited for for ever
    watchdog.start()
    try:
        steering, keyboard = (
            Client(int(found[1]), found[2])
            for found in (
                re.search(r"http://127\.0\.0\.1:(\d+)/\S*#token=(\S+)", process.stderr.readline())
                for _ in range(2)
            )
        )
        text = f"thank you {CANARY} "
        assert keyboard.post("/api/keyboard/typed", {"message": 1, "text": text}).json == {"stored": True}
        words = keyboard.post("/api/keyboard/suggest", {"text": "see you at "}).json["suggestions"]
        assert len(words) == 3
        assert keyboard.post("/api/keyboard/overview", {}).json["today"]["new_words"] == [CANARY]
        assert steering.post("/api/finish").status == 202
        written, said = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
    assert said == ""
    assert process.returncode in (0, 1)
    assert json.loads(written)["peers"] == 2
    assert_nowhere(Home(out / "peer-0"), CANARY)
    assert_nowhere(Home(out / "peer-1"), CANARY)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kill", [0, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_ten_authors_gain_from_each_other_without_a_server(tmp_path, seed, kill):
    """The promise of docs/keyboard.md. Its time is for two cores of one's own: it is reported, not required."""
    done = demo(tmp_path / "run", "keyboard", "--seed", seed, "--kill", kill, "--duration", 300, "--json")
    summary = json.loads(done.stdout)
    names = ("alone_mean", "gossip_mean", "personal_mean", "pooled", "seconds", "gossip_seconds")
    points = ("gap_points", "gap_mean_points", "gap_reach_points", "gain_mean_points", "gain_reach_points")
    print({key: summary[key] for key in (*names, *points)})
    assert done.returncode == 0, summary
    assert summary["gap_mean_points"] + summary["gap_reach_points"] <= 2.0
    assert summary["gain_mean_points"] - summary["gain_reach_points"] > 0
    assert summary["alone_mean"] < summary["gossip_mean"] < summary["personal_mean"]
    assert len(summary["killed"]) == kill
