"""The display of a demo: who is there, what was done to them, and how they compare."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from gossipfl.demo.baselines import Baselines
from gossipfl.demo.curves import curves, saved
from gossipfl.demo.display import live_view, progress_line
from gossipfl.demo.plan import DemoPlan
from gossipfl.demo.running import Progress
from gossipfl.demo.summary import Summary, summary_table
from gossipfl.demo.watching import Observation

BASELINES = Baselines(alone=(0.3, 0.2, 0.4), pooled=(0.97, 0.97, 0.97), alone_steps=10, pooled_steps=30)
SUMMARY = Summary(
    converged=True, metric="accuracy", gossip=[0.96, 0.97], gossip_mean=0.965, gossip_worst=0.96, pooled=0.97,
    personal=None, personal_mean=None, bytes_a_peer=500,
    alone=[0.3, 0.2], alone_mean=0.25, gap_points=1.0, gap_mean_points=None,
    gap_reach_points=None, gain_mean_points=None, gain_reach_points=None,
    tolerance_points=2.0, consensus_distance=0.5,
    ages=[900, 900], messages=10, bytes=1000, seconds=40.0, gossip_seconds=20.0, startup_seconds=5.0,
    alone_steps=450, pooled_steps=1350, peers=2, partition="shards:2", task="digits", seed=0, killed=[],
    restarted=[], directory="run", picture="run/demo.png",
)  # fmt: skip


def status(accuracy):
    network = {"messages_received": 3, "bytes_received": 2_000_000}
    return {"age": 5, "metrics": {"accuracy": accuracy}, "network": network, "connected": 1, "neighbours": 2}


def look(*accuracies, seconds=7.0, running=None):
    return Observation(
        seconds=seconds,
        statuses=tuple(None if each is None else status(each) for each in accuracies),
        running=running or tuple(True for _ in accuracies),
        consensus_distance=0.25,
    )


def shown(renderable, width=100):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.mark.parametrize(
    ("seen", "said", "all_up"),
    [
        (look(None, None, None), "0 of 3 peers up", False),
        (look(0.5, None, 0.25), "2 of 3 peers up", False),
        (look(0.5, 0.75, 0.25), "3 of 3 peers up", True),
        (look(0.5, 0.75, 0.25, running=(True, True, False)), "2 of 3 peers up", True),
    ],
)
def test_up_is_who_has_spoken(seen, said, all_up):
    assert said in progress_line(Progress("accuracy", history=[seen]))
    assert seen.all_up is all_up


def test_the_line_says_how_all_are():
    line = progress_line(Progress("accuracy", history=[look(0.5, 0.75, None)], phase="gossip"))
    assert "7.0 s · gossip" in line
    assert "accuracy mean 62.5 % worst 50.0 %" in line
    assert "consensus distance 0.25" in line
    assert "4.0 MB exchanged" in line


def test_the_table_says_how_each_is(tmp_path):
    plan = DemoPlan(directory=tmp_path, peers=3)
    text = shown(live_view(plan, Progress("accuracy", history=[look(0.5, None, 0.9, running=(1, 1, 0))])))
    rows = [line for line in text.splitlines() if "│" in line]
    assert "50.0 %" in rows[0]
    assert "starting" in rows[1]
    assert "killed" in rows[2]


@pytest.mark.parametrize(
    ("points", "said"),
    [(1.04, "1.0 points below pooled: within 2"), (-0.3, "0.3 points above pooled: within 2")],
)
def test_better_than_pooled_is_above_it(points, said):
    assert said in shown(summary_table(dataclasses.replace(SUMMARY, gap_points=points)))
    assert "NOT within 2" in shown(summary_table(dataclasses.replace(SUMMARY, converged=False)))


def test_keyboards_are_judged_by_their_mean():
    keyboards = dataclasses.replace(
        SUMMARY, gap_points=2.5, gap_mean_points=0.5, gap_reach_points=0.3, gain_mean_points=2.1,
        gain_reach_points=0.4,
    )  # fmt: skip
    text = shown(summary_table(keyboards), width=140)
    assert "0.5 ± 0.3 points below pooled: within 2; +2.1 ± 0.4 beside alone" in text
    assert "2.5 points below pooled at most" in text


HISTORY = [
    look(None, 0.1, 0.2, seconds=5.0),
    look(0.3, 0.5, 0.4, seconds=6.0),
    look(0.9, 0.8, 0.9, seconds=9.0),
]


def test_the_curves_begin_at_the_start_and_mark_what_was_done():
    figure = curves(HISTORY, BASELINES, metric="accuracy", killed_at=6.5, restarted_at=7.5)
    for axes in figure.axes:
        assert axes.get_xlim()[0] == 0
        assert {6.5, 7.5} <= {line.get_xdata()[0] for line in axes.lines}
    assert [text.get_text() for text in figure.axes[0].texts] == ["peers killed", "one restarted"]
    undisturbed = curves(HISTORY, BASELINES, metric="accuracy")
    assert not undisturbed.axes[0].texts


def test_the_curve_of_a_peer_that_was_away_has_a_gap():
    away = [*HISTORY, look(None, 0.9, 0.9, seconds=10.0), look(0.9, 0.9, 0.9, seconds=11.0)]
    first = curves(away, BASELINES, metric="accuracy").axes[0].lines[0]
    assert list(first.get_xdata()) == [5, 6, 9, 10, 11]
    assert np.isnan(first.get_ydata()).tolist() == [True, False, False, True, False]


def test_a_picture_that_cannot_be_written_is_reported(tmp_path, caplog):
    (tmp_path / "file").touch()
    plot = partial(curves, HISTORY, BASELINES, metric="accuracy")
    assert saved(tmp_path / "demo.png", plot)
    assert not saved(tmp_path / "file" / "demo.png", plot)
    assert "the curves cannot be drawn: Not a directory" in caplog.text
