"""TensorBoard, MLflow and Weights & Biases: what was written is what was measured, and nobody is contacted."""

import json
import os
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import gossipfl.extras
import sims
from gossipfl.errors import SettingError
from sims.cli import app
from sims.scenario import to_toml
from sims.tracking import CallbackWarning, MLflow, TensorBoard, WeightsAndBiases
from sims.tracking.tracker import flat
from sims.world.trace_cache import Traces
from tests.sims.tracking.read_back import scalars, wandb_run
from tests.sims.worlds import small

RUN = ("stop.rounds=12", "evaluate.every=5", "network.loss=0.2")
ROUNDS = [0, 5, 10, 12]
TRACES = Traces()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*overrides, **options):
    return sims.run(small(*RUN, *overrides), compile_when="never", traces=TRACES, **options)


def interrupted_then_resumed(callbacks, out):
    asked = iter([False] * 2)
    stopped = run(callbacks=callbacks(), out=out, interrupted=lambda: next(asked, True))
    assert not stopped.finished
    assert stopped.evaluations.height > 1
    return sims.run(None, out=out, resume=True, compile_when="never", callbacks=callbacks())


def numbers(table):
    return [name for name, dtype in table.schema.items() if dtype.is_numeric()]


def test_tensorboard_has_every_column_at_its_round_and_second(tmp_path):
    result = run(callbacks=["tensorboard"], out=tmp_path / "run")
    found = scalars(tmp_path / "run/tensorboard")
    last = result.evaluations.row(-1, named=True)
    assert [step for step, *_ in found["accuracy/mean"]] == ROUNDS
    assert [when for *_, when in found["accuracy/mean"]] == result.evaluations["seconds"].to_list()
    values = [value for _, value, _ in found["accuracy/mean"]]
    assert values == pytest.approx(result.evaluations["accuracy_mean"].to_list())
    assert found["run/messages"][-1][1] == last["messages"]
    scalar = {tag for tag in found if not tag.endswith("/text_summary")}
    assert len(scalar) == len(numbers(result.evaluations)) - 2
    assert "scenario/text_summary" in found
    assert "result/text_summary" in found


def test_tensorboard_gives_runs_without_a_directory_one_of_their_own(tmp_path):
    for _ in range(2):
        run(callbacks=["tensorboard"])
        run(callbacks=[f"tensorboard:{tmp_path / 'mine'}"])
    for folder in (tmp_path / "runs", tmp_path / "mine"):
        assert sorted(path.name for path in folder.iterdir()) == ["scenario-seed-3", "scenario-seed-3-2"]


def test_tensorboard_goes_on_where_a_run_was_resumed(tmp_path):
    interrupted_then_resumed(lambda: [TensorBoard()], tmp_path / "run")
    assert [step for step, *_ in scalars(tmp_path / "run/tensorboard")["accuracy/mean"]] == ROUNDS


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient(str(tmp_path / "mlruns"))


def only_run(client):
    experiment = client.get_experiment_by_name("gossipfl")
    (found,) = client.search_runs([experiment.experiment_id])
    return found


def test_mlflow_has_parameters_metrics_artifacts_and_the_hash(client, tmp_path):
    result = run("evaluate.layers=true", callbacks=["mlflow"])
    found = only_run(client)
    assert found.info.run_name == result.scenario.name
    assert found.info.status == "FINISHED"
    assert found.data.params["population.nodes"] == "24"
    assert found.data.params["training.learning_rate"] == "0.3"
    assert set(found.data.params) == set(flat(result.scenario))
    assert found.data.tags["result.sha256"] == result.summary["result"]["sha256"]
    assert found.data.tags["state"] == "finished"
    for column in numbers(result.evaluations):
        history = client.get_metric_history(found.info.run_id, column.replace("/", "."))
        assert [each.step for each in history] == ROUNDS, column
        values = result.evaluations[column].to_list()
        assert [each.value for each in history] == pytest.approx(values, nan_ok=True)
        later = [(each.timestamp - found.info.start_time) / 1000 for each in history]
        assert later == pytest.approx(result.evaluations["seconds"].to_list())
    texts = {
        name: Path(client.download_artifacts(found.info.run_id, name, str(tmp_path))).read_text()
        for name in ("scenario.toml", "run.json")
    }
    assert texts["scenario.toml"] == to_toml(result.scenario)
    assert json.loads(texts["run.json"])["result"] == result.summary["result"]


def test_mlflow_goes_on_with_its_run_where_a_run_was_resumed(client, tmp_path):
    interrupted_then_resumed(lambda: [MLflow()], tmp_path / "run")
    found = only_run(client)
    assert found.info.status == "FINISHED"
    assert [each.step for each in client.get_metric_history(found.info.run_id, "loss_mean")] == ROUNDS


def test_a_tracker_that_was_not_there_before_gets_the_earlier_evaluations_too(client, tmp_path):
    asked = iter([False] * 2)
    run(out=tmp_path / "run", interrupted=lambda: next(asked, True))
    sims.run(None, out=tmp_path / "run", resume=True, compile_when="never", callbacks=["mlflow"])
    history = client.get_metric_history(only_run(client).info.run_id, "accuracy_mean")
    assert [each.step for each in history] == ROUNDS


def test_mlflow_says_how_a_run_ended(client, monkeypatch, tmp_path):
    run(callbacks=["mlflow"], out=tmp_path / "run", interrupted=lambda: True)
    assert only_run(client).info.status == "KILLED"
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("sims.running.runner.Runner._evaluate", lambda *a, **k: 1 / 0)
        run(callbacks=[MLflow(experiment="other")])
    other = client.get_experiment_by_name("other").experiment_id
    assert client.search_runs([other])[0].info.status == "FAILED"


def test_a_place_that_cannot_be_written_to_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(CallbackWarning, match="MLflow failed"):
        result = run(callbacks=[f"mlflow:{tmp_path / 'file'}"], out=tmp_path / "run")
    assert result.finished
    assert pl.read_parquet(tmp_path / "run/evaluations.parquet").equals(result.evaluations)


def test_places_are_directories_or_uris(tmp_path, monkeypatch):
    assert MLflow().uri == str(tmp_path / "mlruns")
    assert MLflow("here").uri == str(tmp_path / "here")
    assert MLflow("http://host:5000").uri == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert MLflow().uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert MLflow("sqlite:////disk/mlflow.db").uri == "sqlite:////disk/mlflow.db"


def stopped(callbacks, out):
    asked = iter([False] * 2)
    run(callbacks=callbacks, out=out, interrupted=lambda: next(asked, True))


def resumed(callbacks, out):
    return sims.run(None, out=out, resume=True, compile_when="never", callbacks=callbacks)


def test_a_run_is_tracked_on_in_its_place_wherever_it_is_resumed(client, tmp_path, monkeypatch):
    stopped(["mlflow", "wandb"], tmp_path / "run")
    noted = json.loads((tmp_path / "run/tracking.json").read_text())
    assert noted["mlflow"]["place"] == str(tmp_path / "mlruns")
    assert noted["wandb"]["place"] == str(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed(["mlflow", "wandb"], tmp_path / "run")
    assert [
        each.step for each in client.get_metric_history(only_run(client).info.run_id, "loss_mean")
    ] == ROUNDS
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.slow
def test_a_run_is_tracked_anew_in_another_place_that_is_chosen(client, tmp_path):
    stopped(["mlflow", f"tensorboard:{tmp_path / 'a'}"], tmp_path / "run")
    before = only_run(client).info.end_time
    resumed([f"mlflow:{tmp_path / 'other'}", f"tensorboard:{tmp_path / 'b'}"], tmp_path / "run")
    assert only_run(client).info.end_time == before
    other = type(client)(str(tmp_path / "other"))
    found = only_run(other)
    assert [each.step for each in other.get_metric_history(found.info.run_id, "loss_mean")] == ROUNDS
    (folder,) = (tmp_path / "b").iterdir()
    assert [step for step, *_ in scalars(folder)["loss/mean"]] == ROUNDS


def test_a_directory_that_was_moved_keeps_its_event_files(tmp_path):
    stopped(["tensorboard"], tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    resumed(["tensorboard"], tmp_path / "moved")
    assert [step for step, *_ in scalars(tmp_path / "moved/tensorboard")["accuracy/mean"]] == ROUNDS
    assert not (tmp_path / "run").exists()


def test_passwords_of_a_place_are_not_written_down():
    assert MLflow("http://me:secret@host:5000/x").settle(None) == "http://host:5000/x"
    assert MLflow("http://me:secret@host:5000/x").uri == "http://me:secret@host:5000/x"
    tracker = MLflow()
    assert tracker.settle("http://host:5000") == "http://host:5000"
    assert tracker.uri == "http://host:5000"


def test_wandb_is_offline_and_holds_every_column(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    result = run(callbacks=["wandb"])
    config, history, summary, code, files = wandb_run(tmp_path)
    assert config["population.nodes"] == 24
    assert set(config) >= set(flat(result.scenario))
    assert [row["round"] for row in history] == ROUNDS
    for column in numbers(result.evaluations):
        values = [float(row[column]) for row in history]
        assert values == pytest.approx(result.evaluations[column].to_list(), nan_ok=True), column
    assert summary["result.sha256"] == result.summary["result"]["sha256"]
    assert summary["state"] == "finished"
    assert code == 0
    assert files >= {"scenario.toml", "run.json"}


def test_wandb_is_offline_unless_the_environment_or_the_caller_says_otherwise(monkeypatch):
    assert WeightsAndBiases().mode == "offline"
    assert WeightsAndBiases(mode="online").mode == "online"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert WeightsAndBiases().mode == "online"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_is_named_with_what_installs_it(name, monkeypatch):
    monkeypatch.setattr(gossipfl.extras, "is_installed", lambda module: False)
    with pytest.raises(SettingError, match=rf"gossipfl\[{name}\]"):
        run(callbacks=[name])


def test_the_command_writes_to_several(client, tmp_path):
    (tmp_path / "mine.toml").write_text(to_toml(small(*RUN)))
    command = [
        "run",
        "mine.toml",
        "--out",
        "run",
        "--compile",
        "never",
        "--log",
        "mlflow",
        "--log",
        "tensorboard",
    ]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    assert only_run(client).data.metrics["round"] == 12
    assert len(scalars(tmp_path / "run/tensorboard")["accuracy/mean"]) == 4


def test_a_scenario_is_flat_key_by_key():
    found = flat(small("network.loss=0.1"))
    assert found["network.loss"] == 0.1
    assert found["population.nodes"] == 24
    assert all(isinstance(value, (str, int, float)) for value in found.values())
