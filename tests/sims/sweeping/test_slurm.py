"""Sweeps as job arrays of Slurm: the script and its parts, and what submitit submits; without Slurm."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import tomli_w
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import sims
from gossipfl.errors import SettingError
from sims.cli import app
from sims.errors import ClusterUnreachable, InvalidSweep, SweepDirectoryError
from sims.sweeping import slurm_workers
from sims.sweeping.array_script import array_script, script_of
from sims.sweeping.directory import SweepDirectory
from sims.sweeping.means import Means
from sims.sweeping.parts import do_part, parts_of
from sims.sweeping.slurm_options import largest_array, minutes_of, options_of
from sims.sweeping.slurm_workers import ArrayTask
from tests.sims.sweeping.sweeps import SCENARIO, sweep_of

WATCHED = {**SCENARIO, "stop": {"rounds": 600}, "evaluate": {"every": 10}}


def options_in(script):
    """Options that sbatch reads: lines before the first command."""
    head = script[: script.index("\nset -eu")]
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", head, re.MULTILINE))


def what_it_runs(script, *, index):
    """Arguments of Python that an index of the array comes to."""
    echo = script.parent / "echo"
    echo.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    echo.chmod(0o755)
    text = script.read_text().replace(f"exec {sys.executable}", f"exec {echo}")
    said = subprocess.run(
        ["bash"],
        input=text,
        env=os.environ | {"SLURM_ARRAY_TASK_ID": str(index)},
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = said.stdout.split("\0")[:-1]
    assert arguments[:3] == ["-m", "gossipfl", "sim"]
    return arguments


def results_in(out):
    """Digest of each run's models."""
    return {
        file.parent.name: json.loads(file.read_text())["result"]["sha256"]
        for file in out.glob("runs/*/run.json")
    }


def test_the_script_does_each_part_and_resuming_gathers_them(tmp_path):
    file, out, script = tmp_path / "s.toml", tmp_path / "the out", tmp_path / "array.sh"
    file.write_text(tomli_w.dumps({"name": "two\nlines", "scenario": SCENARIO, "seeds": [1, 2]}))
    asked = ["--slurm", "partition=short,time=0:30:00", "--slurm", "mail-user=me@home", "--jobs", "5"]
    command = ["sweep", str(file), "--out", str(out), "--script", str(script), *asked]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert f"sbatch {script}" in said.stdout
    text = script.read_text()
    options = options_in(text)
    memory = int(options.pop("mem").removesuffix("M"))
    assert 770 < memory < 2000  # whatever this machine has compiled before
    assert options == {
        "job-name": "gossipfl-sweep",
        "array": "1-2%5",
        "cpus-per-task": "1",
        "output": f"'{out}/parts/%A_%a.log'",
        "open-mode": "append",
        "signal": "B:INT@120",
        "partition": "short",
        "time": "0:30:00",
        "mail-user": "me@home",
    }
    assert (out / "parts").is_dir()  # where Slurm writes logs
    subprocess.run(["bash", "-n", script], check=True)
    done = CliRunner().invoke(app, what_it_runs(script, index=2)[3:])
    assert done.exit_code == 0, done.output
    assert "part 2: point 1" in done.stdout
    assert "1 runs, 0 failed" in done.stdout
    first = do_part(out, 1)
    assert first.finished
    assert [outcome.job.seed for outcome in first.outcomes] == [1]
    (again,) = do_part(out, 2).outcomes
    (run,) = set(results_in(out)) - {first.outcomes[0].job.run}
    assert again.job.run == run
    written = (out / "runs" / run / "run.json").stat().st_mtime_ns
    result = sims.sweep(None, out=out, resume=True, jobs=1)
    assert result.finished
    assert (out / "runs" / run / "run.json").stat().st_mtime_ns == written
    for name, digest in results_in(out).items():
        scenario = sims.load_scenario(out / "runs" / name / "scenario.toml")
        assert sims.run(scenario, compile_when="never").summary["result"]["sha256"] == digest
    assert pl.read_parquet(out / "evaluations.parquet")["seed"].unique().to_list() == [1, 2]


def test_a_dry_run_prints_the_script_and_writes_nothing(tmp_path):
    file, out = tmp_path / "s.toml", tmp_path / "out"
    file.write_text(tomli_w.dumps({"scenario": SCENARIO, "seeds": [1, 2], "tune": {"values": 3}}))
    command = ["sweep", str(file), "--out", str(out), "--dry-run"]
    said = CliRunner().invoke(app, [*command, "--on", "slurm", "--threads", "4", "--device", "cuda"])
    assert said.exit_code == 0, said.output
    options = options_in(said.stdout)
    assert (options["array"], options["cpus-per-task"], options["gpus"]) == (
        "1-1",
        "4",
        "1",
    )  # a tuned point is one
    assert "export OMP_NUM_THREADS=4" in said.stdout
    assert said.stdout.rstrip().endswith("--threads 4 --device cuda --compile never")
    assert sorted(tmp_path.iterdir()) == [file]
    elsewhere = CliRunner().invoke(app, command)
    assert isinstance(elsewhere.exception, InvalidSweep)
    assert "expected --on slurm; got --on local" in str(elsewhere.exception)


def test_a_directory_is_a_name_and_no_command(tmp_path):
    wild = tmp_path / "a 'b' $(touch no) `touch no` %j"
    text = array_script("two\nlines; touch no", parts=1, out=wild, memory=1, means=Means())
    (tmp_path / "array.sh").write_text(text)
    assert what_it_runs(tmp_path / "array.sh", index=1)[4:6] == ["--out", str(wild)]
    assert "%%j/parts/%A_%a.log" in options_in(text)["output"]
    for broken in ("x\ntouch no\n", "x\r", "x\\n"):
        with pytest.raises(InvalidSweep, match="without line breaks"):
            script_of(sweep_of(seeds=[1]), out=tmp_path / broken, means=Means())
        assert not (tmp_path / broken).exists()


def with_limit(folder, monkeypatch, size):
    """A cluster whose arrays have indices below ``size``."""
    (folder / "scontrol").write_text(f"#!/bin/sh\necho 'MaxArraySize            = {size}'\n")
    (folder / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_more_parts_than_an_array_may_have_jobs_are_shared_out(tmp_path, monkeypatch):
    with monkeypatch.context() as nobody:
        nobody.setenv("PATH", "/nowhere")
        assert largest_array() == 1000  # as is usual
    with_limit(tmp_path, monkeypatch, 3)
    out, script = tmp_path / "out", tmp_path / "array.sh"
    script.write_text(script_of(sweep_of(seeds=[1, 2, 3]), out=out, means=Means()))
    assert options_in(script.read_text())["array"] == "1-2"
    chosen = [what_it_runs(script, index=index)[7] for index in (1, 2)]
    assert chosen == ["1-2", "3-4"]  # the last job has less to do
    done = CliRunner().invoke(app, ["sweep", "--out", str(out), "--part", chosen[1]])
    assert done.exit_code == 0, done.output
    assert len(results_in(out)) == 1
    assert "part 3: point 1" in done.stdout
    (out / "parts" / "1.lock").mkdir()  # as if it could not be done
    done = CliRunner().invoke(app, ["sweep", "--out", str(out), "--part", chosen[0]])
    assert done.exit_code == 1
    assert "Part 1 was not done" in done.stdout
    assert len(results_in(out)) == 2
    for wrong in ("0", "2-1", "a", "1-2-3", "-1", "1-"):
        said = CliRunner().invoke(app, ["sweep", "--out", str(out), f"--part={wrong}"])
        assert "--part is not understood" in str(said.exception)


@pytest.mark.parametrize(("parts", "most"), [(1000, 1000), (1001, 1000), (2500, 1000), (7, 3), (5, 1)])
def test_every_part_is_in_one_job(parts, most):
    text = array_script("many", parts=parts, out=Path("/o"), memory=1, means=Means(), most=most)
    jobs = int(options_in(text)["array"].removeprefix("1-"))
    assert jobs <= most
    each = re.search(r" \* (\d+)\)\)\"", text)
    each = int(each[1]) if each else 1
    assert jobs == -(-parts // each)


def test_memory_is_asked_for_once():
    text = array_script("s", parts=1, out=Path("/o"), memory=1, means=Means(), options={"mem-per-cpu": "4G"})
    assert "mem" not in options_in(text)
    assert options_in(text)["mem-per-cpu"] == "4G"


def test_parts_are_runs_or_tuned_points(tmp_path):
    grid = {"training.learning_rate": [0.1, 0.3]}
    plain = parts_of(sweep_of(seeds=[1, 2], grid=grid))
    assert [(part.point.number, part.seeds) for part in plain] == [(1, (1,)), (1, (2,)), (2, (1,)), (2, (2,))]
    grid = {"training.batch_size": [4, 8]}
    tuned = sweep_of(seeds=[1, 2], grid=grid, tune={"values": 3, "around": 0.1})
    assert [(part.point.number, part.seeds) for part in parts_of(tuned)] == [(1, (1, 2)), (2, (1, 2))]
    script_of(tuned, out=tmp_path / "out", means=Means())
    result = do_part(tmp_path / "out", 2)
    assert [outcome.job.stage for outcome in result.outcomes] == ["tuning"] * 3 + ["runs"] * 2
    values = [outcome.job.tuned for outcome in result.outcomes]
    assert values[:2] == [0.025, 0.1]
    assert values[3] == values[4] == max(result.outcomes[:3], key=score).job.tuned


def score(outcome):
    return outcome.evaluations["accuracy_mean"][-1]


def test_a_part_is_done_by_one_process_and_not_beside_the_whole(tmp_path):
    out = tmp_path / "out"
    script_of(sweep_of(seeds=[1, 2]), out=out, means=Means())
    with pytest.raises(InvalidSweep, match="no such part; expected 1 to 2; got 3"):
        do_part(out, 3)
    with pytest.raises(SweepDirectoryError, match="holds no sweep"):
        do_part(tmp_path, 1)
    directory = SweepDirectory(out)
    with directory.shared(), directory.shared():  # two other parts
        with pytest.raises(SweepDirectoryError, match="another process is sweeping"):
            sims.sweep(None, out=out, resume=True, jobs=1)
        from sims.sweeping.parts import _alone

        with _alone(out / "parts" / "1.lock", parts_of(sweep_of(seeds=[1, 2]))[0]):
            with pytest.raises(SweepDirectoryError, match=r"another process does part 1: point 1 .*, seed 1"):
                do_part(out, 1)
            said = CliRunner().invoke(app, ["sweep", "--out", str(out), "--part", "1"])
            assert isinstance(said.exception, SweepDirectoryError)
    whole = directory.opened(sweep_of(seeds=[1, 2]), resume=True)
    with whole, pytest.raises(SweepDirectoryError, match="another process is sweeping"):
        do_part(out, 1)
    both = CliRunner().invoke(app, ["sweep", "digits", "--out", str(out), "--part", "1"])
    assert "Give --out alone" in str(both.exception)


def test_what_cannot_be_locked_is_named(tmp_path, monkeypatch):
    out = tmp_path / "out"
    script_of(sweep_of(seeds=[1, 2]), out=out, means=Means())
    (out / "parts" / "1.lock").mkdir()
    with pytest.raises(SweepDirectoryError, match=r"1\.lock cannot be written to: Is a directory"):
        do_part(out, 1)

    def without(*given):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)  # as on a network's disk
    with pytest.raises(
        SweepDirectoryError, match=r"cannot be locked: No locks available\. Parts .*with locks"
    ):
        do_part(out, 2)


def test_options_are_those_of_sbatch():
    assert options_of(["gres=gpu:a100:1", "constraint=a,b,nodes=1"]) == {
        "gres": "gpu:a100:1",
        "constraint": "a,b",
        "nodes": "1",
    }
    assert minutes_of("2-1:30:01") == 2 * 1440 + 91
    assert minutes_of("5:00") == 5
    for wrong in (
        "partition",
        "partition=",
        "=short",
        "P=short",
        "comment=two words",
        'comment="x"',
        "comment=run#3",
        "a=b\nc=d",
    ):
        with pytest.raises(InvalidSweep, match="an option of Slurm is not understood"):
            options_of([wrong])
    for own in ("array=1-3", "output=x", "cpus-per-task=3", "signal=USR1@10", "wrap=true"):
        for name in (own, own[:3] + own[own.index("=") :]):  # sbatch takes abbreviations
            with pytest.raises(InvalidSweep, match="is set by the sweep"):
                options_of([name])
    assert options_of(["mem=1G", "exclude=n1"]) == {"mem": "1G", "exclude": "n1"}  # neither is one
    for wrong in ("soon", "1:2:3:4", "1-", "-5"):
        with pytest.raises(InvalidSweep, match="time limit of Slurm is not understood"):
            options_of([f"time={wrong}"])


def test_submitit_runs_points_that_equal_local_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_workers, "_CLUSTER", "debug")  # in this process
    monkeypatch.setattr(slurm_workers, "_LOOK_UP_SECONDS", 0.0)
    out, shares = tmp_path / "out", []
    sweep = sweep_of(seeds=[1, 2], tune={"values": 3, "around": 0.1})
    result = sims.sweep(sweep, out=out, on="slurm", on_progress=lambda progress: shares.append(progress.done))
    assert result.finished
    assert result.tuning["state"].to_list() == ["finished"] * 3
    for run, score in result.runs.select("run", "score").iter_rows():
        alone = sims.run(sims.load_scenario(out / "runs" / run / "scenario.toml"), compile_when="never")
        assert alone.evaluations["accuracy_mean"][-1] == score
        assert results_in(out)[run] == alone.summary["result"]["sha256"]
    assert shares[-1] == 5


class Cancelled(sims.Callback):
    """A job that is cancelled, or whose place another takes, after four rounds."""

    def evaluated(self, row):
        if row["round"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_job_that_is_cancelled_leaves_a_checkpoint(tmp_path):
    file, out, script = tmp_path / "s.toml", tmp_path / "out", tmp_path / "array.sh"
    scenario = {**SCENARIO, "stop": {"rounds": 6}, "evaluate": {"every": 1}}
    file.write_text(tomli_w.dumps({"scenario": scenario, "seeds": [1]}))
    CliRunner().invoke(app, ["sweep", str(file), "--out", str(out), "--script", str(script)])
    part = ["sweep", "--out", str(out), "--part", "1"]
    done = CliRunner().invoke(app, [*part, "--log", f"{__name__}:Cancelled"])
    assert done.exit_code == 130, done.output
    assert len(list(out.glob("runs/*/checkpoint.safetensors"))) == 1
    assert CliRunner().invoke(app, part).exit_code == 0
    (run,) = results_in(out)
    whole = sims.run(sims.load_scenario(out / "runs" / run / "scenario.toml"), compile_when="never")
    assert results_in(out)[run] == whole.summary["result"]["sha256"]


def test_submitit_is_given_no_directory_that_it_would_rename(tmp_path):
    with pytest.raises(InvalidSweep, match=r"cannot write its logs .*without %"):
        sims.sweep(sweep_of(), out=tmp_path / "50%a", on="slurm")


def test_slurm_is_asked_for_what_a_run_needs(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    with pytest.raises(InvalidSweep, match=r"need a directory .* that all machines share"):
        sims.sweep(sweep_of(), on="slurm")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterUnreachable, match=r"no Slurm on this machine.*--script FILE"):
        sims.sweep(sweep_of(), out=tmp_path / "out", on="slurm")
    monkeypatch.setattr("gossipfl.extras.is_installed", lambda module: module != "submitit")
    with pytest.raises(SettingError, match=r"gossipfl\[slurm\]"):
        sims.sweep(sweep_of(), out=tmp_path / "out", on="slurm")
    assert not (tmp_path / "out" / "sweep.toml").exists()


FAKES = {
    # One after another, in the background; a job is named by 77.
    "sbatch": """#!{python}
import os, re, subprocess, sys
text = open(sys.argv[1]).read()
open("{log}", "a").write(text)
found = re.search(r"--array=0-(\\d+)", text)
environment = os.environ | {{"SLURM_ARRAY_JOB_ID": "77"}} if found else os.environ
loop = "for i in $(seq 0 %s); do SLURM_ARRAY_TASK_ID=$i SLURM_JOB_ID=77 bash %s; done"
one = "SLURM_JOB_ID=77 bash %s"
command = loop % (found[1], sys.argv[1]) if found else one % sys.argv[1]
subprocess.Popen(["bash", "-c", command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job 77")
""",
    "srun": """#!{python}
import os, sys
given = sys.argv[1:]
while given[0].startswith("--"):
    given = given[1:] if given[0] == "--unbuffered" else given[2:]
os.execvp(given[0], given)
""",
    "sacct": "#!/bin/bash\necho 'JobID|State|NodeList'\n",
    "scancel": "#!/bin/bash\n",
}


@pytest.mark.slow
def test_an_array_goes_through_sbatch(tmp_path, monkeypatch):
    binaries, log = tmp_path / "bin", tmp_path / "submitted"
    binaries.mkdir()
    for name, text in FAKES.items():
        (binaries / name).write_text(text.format(python=sys.executable, log=log) if "{" in text else text)
        (binaries / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
    sweep, out = sweep_of(seeds=[1, 2]), tmp_path / "out"
    result = sims.sweep(sweep, out=out, on="slurm", jobs=1, slurm={"partition": "short", "time": "0:20:00"})
    assert result.runs["state"].to_list() == ["finished"] * 2
    assert_frame_equal(result.evaluations, sims.sweep(sweep, jobs=1).evaluations)
    text = log.read_text()
    for option in ("array=0-1%1", "partition=short", "time=20", "cpus-per-task=1", "signal=USR2@120"):
        assert f"#SBATCH --{option}\n" in text
    assert re.search(r"#SBATCH --mem=\d+MB\n", text)
    assert "export OMP_NUM_THREADS=1\n" in text


@pytest.mark.slow
def test_a_part_whose_time_ends_goes_on_from_its_checkpoint(tmp_path):
    out, script = tmp_path / "out", tmp_path / "array.sh"
    sweep = sims.sweeping.parse_sweep({"scenario": WATCHED, "seeds": [1]})
    script.write_text(script_of(sweep, out=out, means=Means()))
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": "1"}
    with subprocess.Popen(["bash", script], env=environment, stdout=subprocess.PIPE, text=True) as job:
        until(lambda: any(out.glob("runs/*/evaluations.parquet")))
        job.send_signal(signal.SIGINT)  # as Slurm does
        said, _ = job.communicate(timeout=120)
    assert job.returncode == 130
    assert "Interrupted." in said
    (checkpoint,) = out.glob("runs/*/checkpoint.safetensors")
    again = subprocess.run(["bash", script], env=environment, check=True, capture_output=True, text=True)
    assert "1 runs, 0 failed" in again.stdout
    alone = sims.run(sims.load_scenario(checkpoint.parent / "scenario.toml"), compile_when="never")
    assert_frame_equal(pl.read_parquet(checkpoint.parent / "evaluations.parquet"), alone.evaluations)


@pytest.mark.slow
def test_a_task_that_is_preempted_leaves_a_checkpoint_and_is_submitted_again(tmp_path):
    submitit, psutil = pytest.importorskip("submitit"), pytest.importorskip("psutil")
    executor = submitit.AutoExecutor(folder=tmp_path / "logs", cluster="local")
    executor.update_parameters(timeout_min=10)
    scenario = sims.sweeping.parse_sweep({"scenario": {**WATCHED, "stop": {"rounds": 4000}}, "seeds": [1]})
    from sims.scenario import to_toml
    from sims.sweeping.points import points_of, scenario_at

    own = scenario_at(scenario, points_of(scenario)[0], seed=1)
    place = tmp_path / "run"
    given = {
        "point": 1,
        "stage": "runs",
        "seed": 1,
        "run": "run",
        "stop": tmp_path / "stop",
        "means": Means(),
    }
    job = executor.submit(ArrayTask(scenario=to_toml(own), directory=place, **given))
    until((place / "evaluations.parquet").exists)
    (process,) = psutil.Process(job._process.pid).children()
    process.send_signal(signal.SIGUSR2)  # as Slurm does before the time ends
    until((place / "checkpoint.safetensors").exists)
    ended = job.result()
    assert ended.state == "finished"
    assert_frame_equal(ended.evaluations, sims.run(own, compile_when="never").evaluations)


def until(condition, seconds=120):
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)
