"""Runs from start to stop: what they record, and that they can be interrupted and resumed."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

import sims
from gossipfl.errors import SettingError
from sims.cli import app
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from sims.errors import InvalidScenario, NotEnoughMemory, NotSimulable, RunDirectoryError
from sims.running import fitting, memory
from sims.running.checkpoint import CHECKPOINT
from sims.scenario import load_scenario, to_toml
from sims.world import build_world
from sims.world.trace_cache import Traces
from tests.sims.worlds import SECOND, conditions, small

RUN = ("stop.rounds=12", "evaluate.every=5", "network.loss=0.2", "network.delay.seconds=0.7")
ROUNDS = ("algorithm.name=d_psgd", "network.loss=0", "network.delay.seconds=0")


TRACES = Traces()  # traced once for all tests


def run(*overrides, **options):
    return sims.run(small(*RUN, *overrides), compile_when="never", traces=TRACES, **options)


def test_records_hold_what_was_measured(tmp_path):
    result = run("evaluate.per_node=true", out=tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run/evaluations.parquet")
    assert table.equals(result.evaluations)
    assert table["round"].to_list() == [0, 5, 10, 12]
    assert table["seconds"].to_list() == [0, 5, 10, 12]
    last = table.row(-1, named=True)
    assert last["messages"] == 24 * 12
    assert last["bytes"] == 24 * 12 * 4 * 18
    assert last["lost"] + last["updates"] + last["unreachable"] <= last["messages"]
    assert last["accuracy_mean"] > table["accuracy_mean"][0] + 0.2
    nodes = pl.read_parquet(tmp_path / "run/nodes.parquet")
    own = nodes.filter(pl.col("round") == 12)
    assert len(own) == 24
    assert own["accuracy"].mean() == pytest.approx(last["accuracy_mean"])
    assert own["accuracy"].quantile(0.25, "linear") == pytest.approx(last["accuracy_q25"])
    rows = load_file(tmp_path / "run/rows.safetensors")["rows"]
    assert rows.equal(result.rows)
    assert load_scenario(tmp_path / "run/scenario.toml") == result.scenario
    summary = json.loads((tmp_path / "run/run.json").read_text())
    assert summary["finished"] is True
    assert summary["updates"] == last["updates"]
    assert set(summary["versions"]) >= {"gossipfl", "torch", "numba"}


@pytest.mark.parametrize(
    "algorithm",
    [
        (),
        ("algorithm={name='d_psgd'}", "network.loss=0.0", "network.delay.seconds=0.0"),
        ("algorithm={name='apfl',adapts=true}", "network.loss=0.0", "network.delay.seconds=0.0"),
        ("algorithm={name='pens',search=7}", "network.loss=0.0", "network.delay.seconds=0.0"),
        ("algorithm={name='apfl_gossip',adapts=true}", "evaluate.fine_tune=2"),
        ("gate={radius=1.0,norm=1.2,offences=2,quarantine=3.0}", "topology=random-regular:degree=4"),
        ("gate={norm=1.2}", "algorithm.sharing={kind='partitioned',parts=3}"),
        ("attack={name='replay',count=5,lag=3,from_round=2}", "gate={}"),
        ("attack={name='noise',count=5}",),
    ],
    ids=[
        "messages",
        "rounds",
        "APFL",
        "PENS",
        "APFL by gossip, fine-tuned",
        "gate",
        "gate of parts",
        "replay and gate",
        "noise",
    ],
)
def test_a_resumed_run_ends_where_the_whole_one_does(tmp_path, algorithm):
    whole = run(*algorithm)
    part = run(*algorithm, "output.checkpoint_every=5", out=tmp_path)
    (tmp_path / "run.json").unlink()
    (tmp_path / "rows.safetensors").unlink()
    seen = []
    options = {"resume": True, "compile_when": "never", "traces": TRACES}
    again = sims.run(None, out=tmp_path, on_progress=lambda p: seen.append(p.rounds), **options)
    assert (seen[0], seen[-1]) == (10, 12)
    assert seen == sorted(seen)
    assert again.rows.equal(whole.rows)
    assert again.evaluations.equals(part.evaluations)
    assert again.evaluations.equals(whole.evaluations)
    assert again.summary["gate"] == whole.summary["gate"]


def test_a_directory_is_not_overwritten_nor_resumed_from_nothing(tmp_path):
    run(out=tmp_path)
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        run(out=tmp_path)
    with pytest.raises(RunDirectoryError, match="finished run: there is nothing to resume"):
        sims.run(None, out=tmp_path, resume=True)
    (tmp_path / "run.json").unlink()
    with pytest.raises(RunDirectoryError, match="holds no checkpoint"):
        sims.run(None, out=tmp_path, resume=True)
    with pytest.raises(RunDirectoryError, match=r"the scenario it was started with.*got network.loss=0.5"):
        sims.run(None, out=tmp_path, resume=True, overrides=["network.loss=0.5"])
    with pytest.raises(RunDirectoryError, match="holds no run"):
        sims.run(None, out=tmp_path / "nothing", resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunDirectoryError, match="damaged"):
        sims.run(None, out=tmp_path, resume=True)


@pytest.mark.parametrize("device", ["gpu", "cuda:77"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(NotSimulable, match=f"expected cpu.*got {device}"):
        run(device=device)


def test_a_diverged_run_has_no_consensus():
    evaluations = run("training.learning_rate=1e300", "precision=float32").evaluations
    assert np.isnan(evaluations["loss_mean"][-1])
    assert not np.isfinite(evaluations["consensus_distance"][-1])


def test_a_run_ends_once_its_accuracy_is_reached():
    result = run("stop.rounds=500", "stop.accuracy=0.8", "evaluate.every=2")
    accuracies = result.evaluations["accuracy_mean"].to_list()
    assert result.finished
    assert accuracies[-1] >= 0.8
    assert max(accuracies[:-1]) < 0.8


def test_more_nodes_than_there_is_memory_for_are_refused_before_samples_are_drawn():
    with pytest.raises(NotEnoughMemory, match=r"10,000,000,000 nodes with 20 samples each"):
        run("population.nodes=10_000_000_000", "task.samples_per_node=20")


def test_a_run_that_would_not_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "attainable_memory", lambda: 10**8)
    with pytest.raises(NotEnoughMemory, match="at most 95 MiB"):
        run(out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rows", ["full", "int8"])
@pytest.mark.parametrize("algorithm", ["gossip_learning", "ad_psgd", "push_sum"])
def test_the_estimate_covers_what_the_table_takes(algorithm, rows):
    scenario = small(
        f"algorithm.name={algorithm}",
        f"engine.rows={rows}",
        "network.delay={kind='lognormal',median=3.0,sigma=0.5}",
        "population.nodes=200",
    )
    world = build_world(scenario)
    estimate = memory.estimate_memory(scenario, world)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    for window in timeline.windows(20 * SECOND):
        timeline.kept(engine.execute(window))
    table = engine.table
    taken = (table.rows if rows == "full" else table.kept_rows).nbytes + table.ages.nbytes
    assert 0.6 * taken < estimate.rows + estimate.slots < 2 * taken


def test_a_module_that_cannot_be_batched_is_simulated_all_the_same():
    assert run("task.options.model=dropout", "stop.rounds=3").finished


def test_ctrl_c_leaves_valid_records_and_a_run_to_resume(tmp_path):
    scenario = tmp_path / "long.toml"
    scenario.write_text(to_toml(small("stop.rounds=100000.0", "evaluate.every=20.0")))
    out = tmp_path / "run"
    code = "from gossipfl.cli.main import main; main()"
    arguments = ["sim", "run", str(scenario), "--out", str(out), "--compile", "never", "--threads", "1"]
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
    ) as process:
        deadline = time.monotonic() + 120
        while not (out / "evaluations.parquet").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"--resume" in said
    summary = json.loads((out / "run.json").read_text())
    assert f"Interrupted at round {summary['rounds']:.4g} ".encode() in said
    done = pl.read_parquet(out / "evaluations.parquet")["round"].max()
    assert summary["finished"] is False
    assert done <= summary["rounds"] <= done + 20
    shortened = to_toml(load_scenario(out / "scenario.toml").model_copy(update={
        "stop": small(f"stop.rounds={done + 40}").stop
    }))  # fmt: skip
    (out / "scenario.toml").write_text(shortened)
    resumed = sims.run(None, out=out, resume=True, compile_when="never")
    whole = sims.run(small(f"stop.rounds={done + 40}", "evaluate.every=20.0"), compile_when="never")
    assert resumed.finished
    assert resumed.rows.equal(whole.rows)
    assert resumed.evaluations["messages"].to_list() == whole.evaluations["messages"].to_list()


# The command line


def test_the_command_runs_and_prints_json(tmp_path):
    (tmp_path / "s.toml").write_text(to_toml(small(*RUN)))
    arguments = ["run", str(tmp_path / "s.toml"), "--set", "stop.rounds=4", "--compile", "never", "--json"]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    printed = json.loads(outcome.stdout)
    assert printed["last"]["round"] == 4
    assert printed["finished"] is True


def test_the_command_lists_and_prints_ready_made_scenarios():
    listed = CliRunner().invoke(app, ["scenarios"])
    assert "digits" in listed.stdout
    printed = CliRunner().invoke(app, ["scenarios", "digits"])
    assert 'name = "digits"' in printed.stdout


def test_the_command_loads_nothing_heavy():
    code = (
        "import sys, sims.cli; print([m for m in ('torch', 'numba', 'polars', 'scipy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_run_has_the_hash_of_its_models_whatever_computed_them(tmp_path):
    first = run(out=tmp_path / "run")
    digest = json.loads((tmp_path / "run/run.json").read_text())["result"]["sha256"]
    assert digest == first.summary["result"]["sha256"]
    assert run(threads=2).summary["result"]["sha256"] == digest
    assert run("seed=4").summary["result"]["sha256"] != digest
    expected = hashlib.sha256()
    rows = first.rows.numpy()
    expected.update(f"<f8{rows.shape}".encode() + rows.tobytes())
    ages = load_file(tmp_path / "run/rows.safetensors")["ages"].numpy()
    expected.update(f"<i8{ages.shape}".encode() + ages.tobytes())
    assert expected.hexdigest() == digest


@pytest.mark.parametrize(
    "algorithm",
    [(), ("gate={}",), ROUNDS],
    ids=["messages", "gate", "rounds"],
)
def test_progress_is_told_between_evaluations(monkeypatch, algorithm):
    monkeypatch.setattr("sims.running.runner._SECONDS_BETWEEN_REPORTS", 0.0)
    seen = []
    run("evaluate.every=12", *algorithm, on_progress=seen.append)
    rounds = [each.rounds for each in seen]
    assert rounds == sorted(rounds)
    assert (rounds[0], rounds[-1]) == (0, 12)
    assert len({r for r in rounds if 0 < r < 12}) >= 5
    assert {each.evaluation["round"] for each in seen[2:-1]} == {0}


@pytest.mark.parametrize("algorithm", [(), ROUNDS], ids=["messages", "rounds"])
def test_an_interrupted_run_says_that_it_stops_and_how_far_it_came(monkeypatch, algorithm):
    monkeypatch.setattr("sims.running.runner._SECONDS_BETWEEN_REPORTS", 0.0)
    seen = []

    def press(progress):
        if not seen and progress.rounds > 0:
            signal.raise_signal(signal.SIGINT)
        if progress.rounds > 0:
            seen.append(progress)

    result = run("evaluate.every=12", *algorithm, on_progress=press)
    assert not result.finished
    assert result.evaluations["round"].to_list() == [0]
    assert 0 < result.summary["rounds"] == seen[-1].rounds < 12
    assert {each.stopping for each in seen[1:]} <= {True}
    assert run("evaluate.every=12", *algorithm).summary["rounds"] == 12


def test_a_gate_that_rounds_have_not_is_refused_unless_it_is_off():
    with pytest.raises(NotSimulable, match=r"in rounds, so gate would be without effect.*'gts'"):
        run(*ROUNDS, "gate={}")
    assert run(*ROUNDS, "gate={enabled=false}", "stop.rounds=1").finished


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"threads": 0}, "threads .* whole number from 1 on; got 0"),
        ({"threads": "two"}, "got 'two'"),
        ({"compile_when": "allways"}, "compile_when .*got 'allways'. Did you mean 'always'"),
    ],
)
def test_options_that_cannot_be_are_named(option, said):
    with pytest.raises(SettingError, match=said):
        sims.run(small(*RUN), **option)
    with pytest.raises(SettingError, match=said):
        sims.sweep({"scenario": "digits", "seeds": [1]}, jobs=1, **option)


def test_a_scenario_may_be_given_as_tables():
    tables = {
        "population": {"nodes": 6},
        "task": {"name": "tests.sims.worlds:blobs"},
        "algorithm": {"name": "d_psgd"},
        "stop": {"rounds": 2},
    }
    result = sims.run(tables, overrides=["seed=5"])
    assert (result.scenario.seed, len(result.rows)) == (5, 6)
    with pytest.raises(
        InvalidScenario, match=r"scenario:\d+:\d+: algorithm.name: there is no algorithm 'd_psg'"
    ):
        sims.run({**tables, "algorithm": {"name": "d_psg"}})
    with pytest.raises(InvalidScenario, match=r"this is no scenario; expected a TOML file.*got 3"):
        sims.run(3)
    with pytest.raises(InvalidScenario, match="Leave out keys that are None"):
        sims.run({**tables, "stop": {"accuracy": None}})


@contextmanager
def files_of_at_most(size):
    """A limit on the size of files, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_loses_nothing_that_was_written(tmp_path):
    overrides = ("output.checkpoint_every=5", "evaluate.every=1")
    whole, checkpoints = run(*overrides), []

    def fill(progress):
        if progress.rounds > 7 and not checkpoints:
            checkpoints.append((tmp_path / CHECKPOINT).read_bytes())
            limited.enter_context(files_of_at_most(1000))

    with ExitStack() as limited, pytest.raises(RunDirectoryError, match=r"written; got .*--resume"):
        run(*overrides, out=tmp_path, on_progress=fill)
    assert (tmp_path / CHECKPOINT).read_bytes() == checkpoints[0]
    assert not list(tmp_path.glob(".*"))
    resumed = sims.run(None, out=tmp_path, resume=True, compile_when="never", traces=TRACES)
    assert resumed.summary["result"] == whole.summary["result"]


class Impatient(sims.Callback):
    """Who presses Ctrl-C twice."""

    def evaluated(self, row):
        if row["round"] == 4:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "output.checkpoint_every=2"], "last checkpoint: gossipfl sim run --resume --out '{}'"),
        ([], "without a checkpoint; {} has what was measured"),
    ],
)
def test_a_run_that_was_ended_at_once_says_what_it_left(tmp_path, options, said):
    scenario, out = tmp_path / "scenario.toml", tmp_path / "a run"
    scenario.write_text(to_toml(small("stop.rounds=6", "evaluate.every=1")))
    given = ["run", str(scenario), "--out", str(out), "--log", f"{__name__}:Impatient", *options]
    outcome = CliRunner().invoke(app, given)
    assert outcome.exit_code == 130
    assert said.format(out) in outcome.output
