"""Sweeps among people who share a disk or a cluster: names that are commands, results that are none of theirs."""

import json
import os
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import tomli_w
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import sims
from sims.cli import app
from sims.cli.analyze import app as analyze
from sims.sweeping.array_script import script_of
from sims.sweeping.directory import SweepDirectory
from sims.sweeping.jobs import Assignment
from sims.sweeping.means import Means
from sims.sweeping.parts import do_part
from sims.sweeping.ray_task import Returned
from sims.sweeping.ray_workers import RayWorkers, _UnderWay
from tests.sims.sweeping.sweeps import SCENARIO, sweep_of

WILD = "[/x] $(touch no) `touch no`\n#SBATCH --wrap=no\r\x1b[2J<script>alert(1)</script>'\"; [[evil]]"


@pytest.fixture
def wild(tmp_path, monkeypatch):
    """The directory of a sweep whose names and labels are commands, its commands, and the script it wrote."""
    monkeypatch.chdir(tmp_path)
    out, script = tmp_path / "out", tmp_path / "array.sh"
    variants = [
        {"label": WILD, "training": {"learning_rate": 0.2}},
        {"label": "tame", "training.momentum": 0.1},
    ]
    (tmp_path / "s.toml").write_text(
        tomli_w.dumps({"name": WILD, "scenario": SCENARIO, "seeds": [1], "variant": variants})
    )

    def said(*command):
        done = CliRunner().invoke(app, [*command, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert "\x1b" not in done.stdout
        return done.stdout

    said("sweep", "s.toml", "--script", str(script))
    yield out, said, script
    assert not (tmp_path / "no").exists()


def test_a_label_is_a_name_in_a_script(wild):
    script = wild[2].read_text()
    named = [line for line in script.splitlines() if "wrap" in line or "touch" in line]
    assert len(named) == 1
    assert named[0].startswith("# ")


@pytest.mark.slow
def test_a_label_is_a_name_and_nothing_else(wild, tmp_path):
    out, said, _ = wild
    report = tmp_path / "report.html"
    assert "part 1: point 1 (variant = [/x] $(touch no)" in said("sweep", "--part", "1-2")
    assert "[/x]" in said("sweep", "--resume")
    runs = pl.read_parquet(out / "runs.parquet")
    assert runs["variant"].to_list() == [WILD, "tame"]
    assert WILD in sims.load_scenario(out / "runs" / runs["run"][0] / "scenario.toml").name
    done = CliRunner().invoke(
        analyze, [str(out / "runs"), "--pooled", "none", "--no-theory", "--report", str(report)]
    )
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout
    assert "<script>alert" not in report.read_text()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The directory of a sweep of two seeds whose parts are done, and its jobs."""
    out, sweep = tmp_path_factory.mktemp("swept") / "out", sweep_of(seeds=[1, 2])
    script_of(sweep, out=out, means=Means())
    return out, [do_part(out, number).outcomes[0].job for number in (1, 2)]


def swap(runs):
    one, two = runs
    for name in ("evaluations.parquet", "run.json", "scenario.toml"):
        content = (one / name).read_bytes()
        (one / name).write_bytes((two / name).read_bytes())
        (two / name).write_bytes(content)


def change_summary(change):
    def changed(runs):
        for run in runs:
            summary = json.loads((run / "run.json").read_text())
            (run / "run.json").write_text(json.dumps(change(summary)))

    return changed


def change_table(change):
    def changed(runs):
        for run in runs:
            table = pl.read_parquet(run / "evaluations.parquet")
            change(table).write_parquet(run / "evaluations.parquet")

    return changed


TAMPERED = {
    "swapped": swap,
    "no table": change_summary(lambda _: []),
    "half a summary": change_summary(lambda summary: {"finished": True}),
    "no time": change_summary(lambda summary: summary | {"seconds": "x"}),
    "nearly true": change_summary(lambda summary: summary | {"finished": "no"}),
    "half of the rounds": change_table(lambda table: table[:-1]),
    "nothing": change_table(lambda table: table[:0]),
    "no loss": change_table(lambda table: table.drop("loss_mean")),
    "half a file": lambda runs: [
        (run / "evaluations.parquet").write_bytes((run / "evaluations.parquet").read_bytes()[:-9])
        for run in runs
    ],
}


@pytest.mark.parametrize("tampering", TAMPERED)
def test_results_that_are_not_those_of_a_run_are_not_kept(tampering, swept):
    out, jobs = swept
    directory = SweepDirectory(out)
    runs = [directory.of(job) for job in jobs]
    before = {file: file.read_bytes() for run in runs for file in run.iterdir() if file.is_file()}
    assert all(directory.kept(job) is not None for job in jobs)
    TAMPERED[tampering](runs)
    assert [directory.kept(job) for job in jobs] == [None, None]
    for file, content in before.items():
        file.write_bytes(content)


def test_a_run_whose_results_were_swapped_is_done_again(swept):
    out, jobs = swept
    directory = SweepDirectory(out)
    whole = [directory.kept(job).evaluations for job in jobs]
    swap([directory.of(job) for job in jobs])
    for number, expected in enumerate(whole, start=1):
        assert_frame_equal(do_part(out, number).outcomes[0].evaluations, expected)


@pytest.mark.parametrize("name", ["../stolen", "/tmp/stolen", "..", ".bashrc", "a/b"])
def test_a_machine_cannot_have_files_written_elsewhere(name, swept, tmp_path):
    job, lost = swept[1][0], ("TaskCancelledError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError")
    errors = SimpleNamespace(
        **{each: type(each, (Exception,), {}) for each in (*lost, "ObjectLostError", "RayError")}
    )
    files = {name: np.zeros(1, np.uint8), "run.json": np.zeros(1, np.uint8)}
    returned = Returned(state="finished", evaluations=None, error=None, seconds=0.0, files=files)
    workers, outcomes = RayWorkers.__new__(RayWorkers), []
    workers._ray = SimpleNamespace(get=lambda _: returned, exceptions=errors)
    given = Assignment(job=job, directory=tmp_path / "in" / "runs" / "run", memory=0)
    workers._under_way = {"reference": _UnderWay(given, None, None)}
    workers._hear("reference", None, outcomes.append, again=True)
    assert [outcome.state for outcome in outcomes] == ["failed"]
    assert "a file named" in outcomes[0].error
    assert list(tmp_path.rglob("*")) == []
    assert not os.path.exists("/tmp/stolen")  # noqa: PTH110
