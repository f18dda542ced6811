"""Runs of the simulator as they are found on disk: whole, interrupted, damaged, none at all."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

import sims
from sims.analysis import load_runs
from sims.analysis.errors import DamagedRun, EmptyRun, NoRuns
from sims.errors import InvalidScenario
from sims.metrics.direction import is_lower_better
from tests.sims.analysis.made import simulated
from tests.sims.worlds import small


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return simulated(
        tmp_path_factory.mktemp("finished") / "run", "evaluate.per_node=true", "network.loss=0.1"
    )


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may harm."""
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_is_what_its_files_say(finished):
    (found,) = load_runs([finished])
    assert found.source == "simulator"
    assert found.finished
    assert found.seed == 3
    assert found.metrics == ("accuracy", "loss")
    assert found.notes == ()
    table = pl.read_parquet(finished / "evaluations.parquet")
    assert found.curves.equals(table)
    assert found.last("accuracy_mean") == table["accuracy_mean"][-1]
    np.testing.assert_array_equal(found.rows, load_file(finished / "rows.safetensors")["rows"])
    assert len(found.labels) == len(found.rows) == 24
    assert found.configuration["network.loss"] == 0.1
    assert found.configuration["topology.name"] == "ring"
    assert not [key for key in found.configuration if key.endswith("seed") or key.startswith("evaluate")]


def test_what_a_run_did_not_measure_is_not_a_number(finished):
    (found,) = load_runs([finished])
    assert np.isnan(found.column("nothing")).all()
    assert np.isnan(found.last("nothing"))


def test_directories_are_searched_and_named_runs_come_once(finished, tmp_path):
    for name in ("b", "a"):
        shutil.copytree(finished, tmp_path / "deep" / name)
    found = load_runs([tmp_path, tmp_path / "deep" / "a"])
    assert [run.path.name for run in found] == ["a", "b"]


def test_a_sweep_is_its_runs_and_not_its_search_for_step_sizes(finished, tmp_path):
    (tmp_path / "sweep.toml").write_text("")
    for part in ("runs/1", "tuning/1", "tuning/2"):
        shutil.copytree(finished, tmp_path / part)
    assert [run.path for run in load_runs([tmp_path])] == [tmp_path / "runs/1"]


def test_a_run_that_was_killed_is_analysed_as_far_as_it_got(run):
    (run / "run.json").unlink()
    (run / "rows.safetensors").unlink()
    table = pl.read_parquet(run / "evaluations.parquet")
    table.head(3).write_parquet(run / "evaluations.parquet")
    (found,) = load_runs([run])
    assert not found.finished
    assert found.rows is None
    assert len(found.curves) == 3
    assert any("interrupted at round 4 of 8" in note for note in found.notes)
    assert any("no models were kept" in note for note in found.notes)


def test_an_interrupted_run_has_the_models_of_its_checkpoint(run):
    rows = load_file(run / "rows.safetensors")["rows"]
    (run / "rows.safetensors").rename(run / "checkpoint.safetensors")
    summary = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**summary, "finished": False}))
    (found,) = load_runs([run])
    np.testing.assert_array_equal(found.rows, rows)
    assert not found.finished


@pytest.mark.parametrize("algorithm", ["gossip_learning", "d_psgd"])
def test_of_an_interrupted_run_under_attack_the_models_are_those_of_the_honest(tmp_path, algorithm):
    scenario = small(
        "stop.rounds=8",
        "evaluate.every=2",
        "precision=float32",
        f"algorithm.name={algorithm}",
        "attack={name='constant',value=1e4,nodes=[2,5]}",
    )
    asked = iter([False, False])
    sims.run(scenario, out=tmp_path / "run", compile_when="never", interrupted=lambda: next(asked, True))
    assert not (tmp_path / "run" / "rows.safetensors").exists()
    (found,) = load_runs([tmp_path / "run"])
    assert not found.finished
    assert found.labels == tuple(str(each) for each in range(24) if each not in (2, 5))
    assert len(found.rows) == 22
    saved = load_file(tmp_path / "run" / "checkpoint.safetensors")["rows"][:24]
    np.testing.assert_array_equal(found.rows, np.delete(saved, [2, 5], axis=0))
    assert any("2 nodes were hostile" in note for note in found.notes)
    resumed = sims.run(None, out=tmp_path / "run", resume=True, compile_when="never")
    whole = sims.run(scenario, compile_when="never")
    assert resumed.rows.equal(whole.rows)


@pytest.mark.parametrize("name", ["evaluations.parquet", "nodes.parquet", "rows.safetensors", "run.json"])
def test_a_damaged_file_is_named(run, name):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedRun, match=name):
        load_runs([run])


def test_a_file_of_something_else_is_no_record_of_a_run(run):
    pl.DataFrame({"x": [1]}).write_parquet(run / "evaluations.parquet")
    with pytest.raises(DamagedRun, match="no evaluations of a run"):
        load_runs([run])


def test_a_scenario_of_another_version_is_named_with_its_line(run):
    text = (run / "scenario.toml").read_text()
    (run / "scenario.toml").write_text(text.replace("jitter", "jitters"))
    with pytest.raises(InvalidScenario, match="jitters"):
        load_runs([run])


def test_a_run_without_any_evaluation_is_empty(run):
    (run / "evaluations.parquet").unlink()
    with pytest.raises(EmptyRun, match="before anything was measured"):
        load_runs([run])


def test_what_holds_no_run(tmp_path):
    with pytest.raises(NoRuns, match="no runs were named"):
        load_runs([])
    with pytest.raises(NoRuns, match="holds no run"):
        load_runs([tmp_path])
    with pytest.raises(NoRuns, match="is not a directory"):
        load_runs([tmp_path / "missing"])


def test_which_metrics_fall():
    assert [is_lower_better(name) for name in ("loss", "error", "accuracy", "f1")] == [
        True,
        True,
        False,
        False,
    ]
