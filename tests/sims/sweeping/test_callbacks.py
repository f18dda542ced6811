"""Callbacks of sweeps: each run tells them, wherever it is done; names that would be lost there are refused."""

from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

import sims
from sims.cli import app
from sims.errors import InvalidCallback
from sims.sweeping import slurm_workers
from sims.sweeping.array_script import script_of
from sims.sweeping.callbacks import callbacks_for
from sims.sweeping.means import Means
from sims.sweeping.settings import parse_sweep
from tests.sims.sweeping.folders import heard_in, scenario_folder
from tests.sims.sweeping.sweeps import sweep_of

WHOLE = ["started after 0", "0", "3", "6", "finished"]


@pytest.fixture
def own(tmp_path, request):
    """A sweep of a scenario with modules of its own, and the name of a callback there."""
    module = f"heard_{request.node.name.split('[')[0]}"
    folder = scenario_folder(tmp_path / "own", module=module)

    def sweep(**settings):
        return parse_sweep({"scenario": str(folder / "scenario.toml"), **settings})

    return sweep, f"{module}:Heard"


def runs_in(out, stage="runs"):
    """Directories of the runs."""
    return sorted((out / stage).iterdir())


def test_each_run_of_a_sweep_tells_them_and_kept_ones_tell_nothing(own, tmp_path):
    sweep, name = own
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(tomli_w.dumps({"scenario": str(tmp_path / "own" / "scenario.toml"), "seeds": [1]}))
    said = CliRunner().invoke(app, ["sweep", str(file), "--out", str(out), "--jobs", "1", "--log", name])
    assert said.exit_code == 0, said.output
    (first,) = runs_in(out)
    assert heard_in(first) == WHOLE
    tuned = sweep(seeds=[1], tune={"values": 3, "around": 0.3})
    result = sims.sweep(tuned, out=out, jobs=1, resume=True, callbacks=[name])
    assert result.runs["state"].to_list() == ["finished"]
    assert [heard_in(run) for run in runs_in(out, "tuning")] == [WHOLE] * 3
    assert [heard_in(run) for run in runs_in(out)] == [WHOLE] * len(runs_in(out))


@pytest.mark.slow
def test_trials_and_runs_of_a_tuning_tell_them(own, tmp_path):
    _, name = own
    scenario, out = tmp_path / "own" / "scenario.toml", tmp_path / "out"
    command = ["tune", str(scenario), "--values", "3", "--jobs", "2", "--out", str(out), "--log", name]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert [heard_in(run) for run in runs_in(out, "tuning")] == [WHOLE] * 3
    assert [heard_in(run) for run in runs_in(out)] == [WHOLE] * 3


def test_a_tuning_names_a_callback_that_is_none():
    missing = CliRunner().invoke(app, ["tune", "digits", "--log", "mlfow"])
    assert isinstance(missing.exception, InvalidCallback)
    assert "Did you mean mlflow" in str(missing.exception)


def test_runs_on_slurm_tell_them(own, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr(slurm_workers, "_CLUSTER", "debug")  # in this process
    monkeypatch.setattr(slurm_workers, "_LOOK_UP_SECONDS", 0.0)
    sweep, name = own
    result = sims.sweep(sweep(seeds=[1]), out=tmp_path / "out", on="slurm", callbacks=[name])
    assert result.finished
    assert [heard_in(run, elsewhere=False) for run in runs_in(tmp_path / "out")] == [WHOLE]


def test_parts_of_a_job_array_tell_them(own, tmp_path):
    sweep, name = own
    out = tmp_path / "out"
    script = script_of(sweep(seeds=[1]), out=out, means=Means(callbacks=(name, "tensorboard:some where")))
    given = f" --compile never --log {name} --log 'tensorboard:{Path('some where').absolute()}'"
    assert script.rstrip().endswith(given)
    done = CliRunner().invoke(app, ["sweep", "--out", str(out), "--part", "1", "--log", name])
    assert done.exit_code == 0, done.output
    assert [heard_in(run, elsewhere=False) for run in runs_in(out)] == [WHOLE]


@pytest.mark.parametrize(
    "name",
    [
        "tensorboard",
        "tensorboard:here",
        "tensorboard:http://host/",
        "wandb",
        "mlflow",
        "mlflow:runs",
        "mlflow:sqlite:///runs.db",
    ],
)
def test_a_tracker_whose_files_would_stay_on_a_machine_of_the_cluster_is_refused(name, tmp_path):
    with pytest.raises(InvalidCallback, match=rf"on whichever machine does a run; .*; got {name}$"):
        sims.sweep(sweep_of(), out=tmp_path / "out", on="ray", callbacks=[name])
    assert not (tmp_path / "out").exists()


def test_places_are_the_same_in_every_process():
    fixed = (
        "mlflow:http://host:5000",
        "mlflow:sqlite:////disk/runs.db",
        "wandb:/disk",
        "tensorboard:/disk/runs",
    )
    for elsewhere in (True, False):
        assert callbacks_for(sweep_of(), fixed, elsewhere=elsewhere) == fixed
    here = Path.cwd()
    assert callbacks_for(sweep_of(), ["tensorboard", "wandb:a", "mlflow:b/c"]) == (
        "tensorboard",
        f"wandb:{here}/a",
        f"mlflow:{here}/b/c",
    )


def test_a_module_that_is_not_sent_is_refused(own, tmp_path, monkeypatch):
    sweep, name = own
    assert callbacks_for(sweep(), [name], elsewhere=True) == (name,)
    (tmp_path / "only_here.py").write_text("import sims\n\n\nclass Mine(sims.Callback):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    assert callbacks_for(sweep(), ["only_here:Mine"]) == ("only_here:Mine",)
    with pytest.raises(InvalidCallback, match="only in the current directory, and is not sent"):
        callbacks_for(sweep(), ["only_here:Mine"], elsewhere=True)


def test_what_is_no_callback_is_refused_before_anything_is_run(tmp_path):
    with pytest.raises(InvalidCallback, match=r"expected names: .*; got Callback"):
        sims.sweep(sweep_of(), out=tmp_path / "out", callbacks=[sims.Callback()])
    (tmp_path / "s.toml").write_text(tomli_w.dumps({"scenario": "digits"}))
    command = ["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out"), "--log", "mlfow"]
    wrong = CliRunner().invoke(app, command)
    assert isinstance(wrong.exception, InvalidCallback)
    assert "Did you mean mlflow?" in str(wrong.exception)
    assert not (tmp_path / "out").exists()
