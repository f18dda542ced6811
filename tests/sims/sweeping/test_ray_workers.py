"""Sweeps on a Ray cluster: equal to local ones, resumed from either, and losing nothing with a process."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import sims
from sims.cluster.ray_cluster import connected
from sims.errors import NotEnoughMemory, NotSimulable
from sims.running.checkpoint import read_checkpoint, write_checkpoint
from sims.running.records import Records, RunDirectory
from sims.sweeping import checking
from sims.sweeping.jobs import run_id
from sims.sweeping.points import points_of, scenario_at
from sims.sweeping.settings import parse_sweep
from tests.sims.sweeping.folders import heard_in, scenario_folder
from tests.sims.sweeping.sweeps import SCENARIO, sweep_of

MARK = 12345.0
RUN_FILES = {"scenario.toml", "evaluations.parquet", "run.json"}


def result_of(run):
    """Digest of the models that a run ended with."""
    return json.loads((run / "run.json").read_text())["result"]["sha256"]


def interrupt_and_mark(scenario, place):
    """Leave a run interrupted after 3 rounds, in whose checkpoint the first evaluation is marked."""
    seen = []
    part = sims.run(
        scenario,
        out=place,
        compile_when="never",
        on_progress=lambda progress: seen.append(progress.rounds),
        interrupted=lambda: seen[-1] == 3.0,
    )
    assert not part.finished
    arrays, evaluations, nodes, done = read_checkpoint(RunDirectory(place))
    records = Records()
    records.restore(evaluations, nodes)
    records.evaluations[0]["seconds"] = MARK
    write_checkpoint(RunDirectory(place), arrays, records, done=done)


def test_points_on_a_cluster_equal_local_ones_and_go_on_from_them(ray_cluster, tmp_path):
    folder = scenario_folder(tmp_path / "own", module="task_on_a_cluster")
    sweep, out = (
        parse_sweep({"scenario": str(folder / "scenario.toml"), "seeds": [1, 2, 3]}),
        tmp_path / "out",
    )
    scenarios = [scenario_at(sweep, points_of(sweep)[0], seed=seed) for seed in sweep.seeds]
    places = [out / "runs" / run_id(scenario) for scenario in scenarios]
    alone = [
        sims.run(scenario, out=place if seed == 1 else None, compile_when="never")  # one has been done before
        for seed, scenario, place in zip(sweep.seeds, scenarios, places, strict=True)
    ]
    interrupt_and_mark(scenarios[1], places[1])
    (places[1] / "tracking.json").write_text('{"mlflow": {"run": "77"}}')

    seen = []
    result = sims.sweep(
        sweep,
        out=out,
        jobs=1,
        on="ray",
        resume=True,
        on_progress=seen.append,
        callbacks=["task_on_a_cluster:Heard"],
    )
    assert result.finished
    assert result.runs["state"].to_list() == ["finished"] * 3
    assert (seen[-1].kept, seen[-1].done) == (1, 3)
    for place, scenario, expected in zip(places, scenarios, alone, strict=True):
        assert result_of(place) == expected.summary["result"]["sha256"]
        assert sims.scenario.to_toml(scenario) == (place / "scenario.toml").read_text()
        assert {file.name for file in place.iterdir()} >= RUN_FILES
    went_on, anew = (pl.read_parquet(place / "evaluations.parquet") for place in places[1:])
    assert_frame_equal(anew, alone[2].evaluations)
    assert went_on["seconds"][0] == MARK
    assert_frame_equal(went_on.drop("seconds"), alone[1].evaluations.drop("seconds"))
    assert not list(Path(tempfile.gettempdir()).glob(f"gossipfl-*/{places[2].name}"))
    assert heard_in(places[0]) is None  # it was kept
    assert heard_in(places[1]) == ["started after 2", "6", "finished"]
    assert heard_in(places[2]) == ["started after 0", "0", "3", "6", "finished"]
    assert json.loads((places[1] / "tracking.json").read_text()) == {"mlflow": {"run": "77"}}


@pytest.mark.slow
def test_a_process_that_is_killed_loses_nothing(ray_cluster, tmp_path):
    scenario = {**SCENARIO, "stop": {"rounds": 600}, "evaluate": {"every": 10}}
    scenario["output"] = {"checkpoint_every": 10}
    sweep = parse_sweep({"scenario": scenario, "seeds": [1, 2, 3]})
    local = sims.sweep(sweep, out=tmp_path / "local", jobs=2)
    killed = []

    def kill_one(progress):
        if progress.phase == "running" and 0.3 < progress.done < 1 and not killed:
            killed.append(process_of_a_run(local.runs["run"]))
            os.kill(killed[0], signal.SIGKILL)

    result = sims.sweep(sweep, out=tmp_path / "ray", on="ray", on_progress=kill_one)
    assert killed
    assert result.finished
    assert result.runs["state"].to_list() == ["finished"] * 3
    assert_frame_equal(result.evaluations, local.evaluations)
    for run in local.runs["run"]:
        assert result_of(tmp_path / "ray" / "runs" / run) == result_of(tmp_path / "local" / "runs" / run)


def process_of_a_run(runs):
    """A process of this test's own cluster that does one of these runs; it says so in its title."""
    token = f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode()
    titles = {f"ray::run {run}" for run in runs}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode().strip()
            if title in titles and token in (entry / "environ").read_bytes():
                return int(entry.name)
        except OSError:  # it has just ended, or is another user's
            continue
    raise AssertionError("no run is under way")


@pytest.mark.slow
def test_a_run_that_kills_its_process_each_time_fails_alone(ray_cluster, tmp_path):
    folder = scenario_folder(tmp_path / "own", module="task_that_dies")
    options = [{"label": fault, "fault": fault} for fault in ("dies", "raises", "none")]
    table = {"scenario": str(folder / "scenario.toml"), "seeds": [1], "grid": {"task.options": options}}

    def lose_the_folder(progress):
        if progress.phase == "running":  # by then all that tasks need has been sent
            shutil.rmtree(folder, ignore_errors=True)

    result = sims.sweep(table, on="ray", on_progress=lose_the_folder)
    found = {
        fault: (state, error)
        for fault, state, error in result.runs.select("task.options", "state", "error").iter_rows()
    }
    assert found["dies"] == ("failed", "its process ended unexpectedly, 3 times")
    assert found["raises"][0] == "failed"
    assert "the disk is on fire" in found["raises"][1]
    assert found["none"] == ("finished", None)


@pytest.mark.slow
def test_a_cluster_is_used_from_outside(ray_cluster, tmp_path):
    sweep = sweep_of(seeds=[1, 2])
    local = sims.sweep(sweep, jobs=2)
    result = sims.sweep(sweep, out=tmp_path / "out", on=ray_cluster)  # as a client
    assert_frame_equal(result.evaluations, local.evaluations)
    assert sims.sweep(sweep, on="ray").runs["state"].to_list() == ["finished"] * 2  # and then as a driver


@pytest.mark.slow
def test_ctrl_c_on_a_cluster_leaves_checkpoints_that_go_on_here(ray_cluster, tmp_path):
    scenario = {**SCENARIO, "stop": {"rounds": 1500}, "evaluate": {"every": 10}}
    sweep, out = parse_sweep({"scenario": scenario, "seeds": [1, 2, 3, 4]}), tmp_path / "out"
    interrupted = []

    def interrupt(progress):
        if progress.phase == "running" and 0.2 < progress.done < 1.5 and not interrupted:
            interrupted.append(progress.done)
            signal.raise_signal(signal.SIGINT)

    part = sims.sweep(sweep, out=out, on="ray", on_progress=interrupt)
    assert interrupted
    assert not part.finished
    states = part.runs["state"].to_list()
    assert "interrupted" in states
    assert len(states) < 4  # those that waited have not begun
    for run in part.runs.filter(pl.col("state") == "interrupted")["run"]:
        assert 0 < pl.read_parquet(out / "runs" / run / "evaluations.parquet")["round"].max() < 1500
        assert (out / "runs" / run / "checkpoint.safetensors").is_file()
    resumed = sims.sweep(None, out=out, jobs=2, resume=True)
    assert resumed.finished
    for seed in (1, 2, 3, 4):
        alone = sims.run(scenario_at(sweep, points_of(sweep)[0], seed=seed), compile_when="never")
        own = resumed.evaluations.filter(pl.col("seed") == seed)
        assert_frame_equal(own.select(alone.evaluations.columns), alone.evaluations)


def test_what_no_machine_of_the_cluster_has_is_said_before_anything_runs(ray_cluster, tmp_path, monkeypatch):
    def refused(error, complaint, **means):
        with pytest.raises(error, match=complaint):
            sims.sweep(sweep_of(), out=tmp_path / "out", on="ray", **means)

    with connected("ray"):
        refused(NotSimulable, r"no machine of the cluster has the cores .*at least 3; got 1", threads=3)
        refused(NotSimulable, r"has a GPU; got device cuda", device="cuda")
        monkeypatch.setattr(checking, "estimate_memory", lambda scenario, world: Estimate())
        refused(NotEnoughMemory, r"on the largest machine of the cluster at most")
    assert not (tmp_path / "out").exists()


class Estimate:
    """A run that fits nowhere."""

    total = 10**16

    def __str__(self):
        return "too much"
