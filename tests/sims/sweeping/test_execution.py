"""Whole sweeps: side by side, failing in part, interrupted, resumed, tuned."""

import json
import signal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import sims
from sims.errors import (
    InvalidScenario,
    InvalidSweep,
    NotEnoughMemory,
    NotSimulable,
    SweepDirectoryError,
    WorkersNotStarted,
)
from sims.sweeping import pool
from sims.sweeping.directory import saved_sweep
from sims.sweeping.settings import parse_sweep
from tests.sims.sweeping.stillborn import stillborn
from tests.sims.sweeping.sweeps import SCENARIO, sweep_of

FRAGILE = "tests.sims.sweeping.worlds:fragile"


def executions(witness):
    """How many runs have read their data."""
    return len(witness.read_text().splitlines()) if witness.exists() else 0


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A tuned sweep over two processes: at one point all runs fail, at one a process dies, some are impossible."""
    folder = tmp_path_factory.mktemp("swept")
    files = {"witness": str(folder / "witness"), "killed": str(folder / "killed")}
    sweep = sweep_of(
        seeds=[1, 2],
        impossible="record",
        grid={
            "task": [
                {"name": FRAGILE, "options": {"witness": files["witness"]}, "label": "sound"},
                {"name": FRAGILE, "options": {"fault": "raises"}, "label": "raises"},
                {"name": FRAGILE, "options": {"fault": "dies once", **files}, "label": "dies once"},
            ],
            "network.loss": [0.0, 0.1],
        },
        tune={"values": 4, "around": 0.05},
    )
    seen = []
    return folder, sims.sweep(sweep, out=folder / "out", jobs=2, on_progress=seen.append), seen


def test_a_sweep_survives_runs_that_fail_and_processes_that_die(swept):
    folder, result, seen = swept
    assert result.finished
    points = {entry["label"]: entry for entry in result.summary["points"]}
    assert [entry["impossible"] for entry in points.values()].count(True) == 3
    refused = points["task = sound, network.loss = 0.1"]
    assert "network.loss would be without effect" in refused["error"]
    failing = result.tuning.filter(pl.col("task") == "raises")
    assert failing["state"].to_list() == ["failed"] * 4
    assert all("the disk is on fire" in error for error in failing["error"])
    assert points["task = raises, network.loss = 0"]["mean"] is None
    dying = result.tuning.filter((pl.col("task") == "dies once") & (pl.col("state") == "failed"))
    assert len(dying) == 1
    assert "SIGKILL" in dying["error"][0]
    for survivor in ("sound", "dies once"):
        entry = points[f"task = {survivor}, network.loss = 0"]
        assert (entry["finished"], entry["failed"]) == (2, 0)
    assert seen[0].phase == "checking"
    assert seen[-1].done == seen[-1].total == 4 + 2 + 4 + 4 + 2
    assert executions(folder / "witness") == (4 + 2) + (3 + 2)


def test_the_step_size_is_chosen_on_held_out_samples_with_other_seeds(swept):
    folder, result, _ = swept
    trials = result.tuning.filter(pl.col("task") == "sound")
    assert trials["seed"].unique().to_list() == [1001]
    assert trials["training.learning_rate"].to_list()[:2] == [0.0125, 0.05]
    best = trials.sort("score", descending=True)["training.learning_rate"][0]
    runs = result.runs.filter((pl.col("state") == "finished") & (pl.col("task") == "sound"))
    assert runs["seed"].to_list() == [1, 2]
    assert runs["training.learning_rate"].to_list() == [best, best]
    (sound,) = [e for e in result.summary["points"] if e["label"] == "task = sound, network.loss = 0"]
    assert sound["tuned"] == best
    assert sound["tuned_at_edge"] == (
        best in (trials[0, "training.learning_rate"], trials[-1, "training.learning_rate"])
    )
    tuning, reported = (
        sims.load_scenario(next((folder / "out" / stage).iterdir()) / "scenario.toml").evaluate.validation
        for stage in ("tuning", "runs")
    )
    assert (tuning, reported) == (0.2, None)


def test_records_are_one_dataset_and_each_run_a_directory(swept):
    folder, result, _ = swept
    out = folder / "out"
    evaluations = pl.read_parquet(out / "evaluations.parquet")
    assert_frame_equal(evaluations, result.evaluations)
    assert {"run", "point", "task", "network.loss", "training.learning_rate", "seed"} < set(
        evaluations.columns
    )
    assert evaluations["round"].to_list() == [0.0, 3.0, 6.0] * 4
    runs = pl.read_parquet(out / "runs.parquet").filter(pl.col("state") == "finished")
    for run, score in runs.select("run", "score").iter_rows():
        own = pl.read_parquet(out / "runs" / run / "evaluations.parquet")
        assert own["accuracy_mean"][-1] == score
        scenario = sims.load_scenario(out / "runs" / run / "scenario.toml")
        alone = sims.run(scenario, compile_when="never")
        assert_frame_equal(alone.evaluations, own)  # what a process computes is what one computes alone
    assert json.loads((out / "summary.json").read_text()) == result.summary


def test_ctrl_c_leaves_checkpoints_and_the_rest_is_done_later(tmp_path):
    out, witness = tmp_path / "out", tmp_path / "witness"
    scenario = {
        **SCENARIO,
        "task": {"name": FRAGILE, "options": {"witness": str(witness)}},
        "stop": {"rounds": 1500},  # long enough for progress to be told of it
        "evaluate": {"every": 10},
    }
    sweep = parse_sweep({"scenario": scenario, "seeds": [1, 2]})

    interrupted = []

    def interrupt_the_second(progress):
        if progress.phase == "running" and 1 < progress.done < 2 and not interrupted:
            interrupted.append(progress)  # once: the second Ctrl-C ends the program at once
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    part = sims.sweep(sweep, out=out, jobs=1, on_progress=interrupt_the_second)
    assert signal.getsignal(signal.SIGINT) is before
    assert not part.finished
    assert part.runs["state"].to_list() == ["finished", "interrupted"]
    assert json.loads((out / "summary.json").read_text())["finished"] is False
    run = out / "runs" / part.runs["run"][1]
    assert 0 < pl.read_parquet(run / "evaluations.parquet")["round"].max() < 1500
    assert (run / "checkpoint.safetensors").is_file()
    assert executions(witness) == 2
    more = saved_sweep(out).model_copy(update={"seeds": (1, 2, 3)})
    resumed = sims.sweep(more, out=out, jobs=1, resume=True)
    assert executions(witness) == 2 + 2  # the first is kept
    assert resumed.finished
    assert resumed.runs["seed"].to_list() == [1, 2, 3]
    assert resumed.runs["score"][0] == part.runs["score"][0]
    alone = sims.run(sims.load_scenario(run / "scenario.toml"), compile_when="never")
    own = resumed.evaluations.filter(pl.col("seed") == 2)
    assert_frame_equal(own.select(alone.evaluations.columns), alone.evaluations)


def test_wrong_sweeps_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    out = tmp_path / "out"

    def refused(error, complaint, **settings):
        with pytest.raises(error, match=complaint):
            sims.sweep(sweep_of(**settings), out=out, jobs=3)
        assert not out.exists()

    refused(InvalidScenario, r"point 1 \(training.x = 1\): .*unknown key 'x'", grid={"training.x": [1]})
    refused(
        NotSimulable, r"point 2 \(network.loss = 0.1\): .*network.loss", grid={"network.loss": [0.0, 0.1]}
    )
    refused(InvalidScenario, r"point 1 .*no topology 'rnig'", grid={"topology.name": ["rnig"]})
    refused(InvalidSweep, r"do not record 'accuracy'; expected one of accuracy_max", metric="accuracy")
    refused(InvalidSweep, r"Did you mean 'accuracy_mean'\?", metric="acuracy_mean")
    refused(InvalidSweep, r"tune.key: 'training.x' is not a positive number", tune={"key": "training.x"})
    refused(InvalidSweep, r"point 1 .* and point 2 .* are the same scenario", grid={"name": ["a", "b"]})
    monkeypatch.setattr(pool, "available_memory", lambda: 1_200_000_000)
    refused(NotEnoughMemory, r"3 runs side by side .* Use --jobs 2")


def test_directories_are_not_mixed_up(tmp_path):
    with pytest.raises(SweepDirectoryError, match="holds no sweep to resume"):
        sims.sweep(None, out=tmp_path, resume=True)
    (tmp_path / "something").touch()
    with pytest.raises(SweepDirectoryError, match="not empty"):
        sims.sweep(sweep_of(), out=tmp_path)
    with pytest.raises(SweepDirectoryError, match="without a directory"):
        sims.sweep(sweep_of(), resume=True)
    with pytest.raises(InvalidSweep, match="at least one"):
        sims.sweep(sweep_of(), jobs=0)


def test_a_process_that_cannot_start_is_told_apart_from_one_that_dies_at_work(monkeypatch):
    """As in a script that calls sweep() without asking whether it is the main module."""
    monkeypatch.setattr(pool, "work", stillborn)
    with pytest.raises(WorkersNotStarted, match=r"exit code 3.*__name__ == '__main__'"):
        sims.sweep(sweep_of(), jobs=1)
