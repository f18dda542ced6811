"""MLflow's runs, written while a run goes on."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gossipfl.extras import require_extra
from sims.tracking.tracker import Tracker, flat

if TYPE_CHECKING:
    from sims.running.result import Result
    from sims.scenario import Scenario

__all__ = ["MLflow"]

_METRICS_A_BATCH, _PARAMETERS_A_BATCH = 1000, 100
_LONGEST = 500  # of a parameter's text; the scenario itself is among the artifacts
_RELATIVE = re.compile(r"(?P<database>sqlite:///)(?P<path>[^/?].*)")
_PASSWORD = re.compile(r"//[^/?#]*@")
_STATES = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow(Tracker):
    """A run of MLflow: the scenario's keys as parameters, a metric a column, the result's hash as a tag.

    A metric's step is the round, rounded, and its time the start of the run plus simulated seconds.

    Parameters
    ----------
    where : str or path, optional
        A directory, or a tracking URI such as ``http://host:5000`` or ``sqlite:///mlflow.db``; by default that of
        the environment's ``MLFLOW_TRACKING_URI``, or the directory ``mlruns``.
    experiment : str, optional
        By default that of ``MLFLOW_EXPERIMENT_NAME``, or ``gossipfl``.

    Raises
    ------
    SettingError
        If MLflow is not installed.

    Notes
    -----
    MLflow's own reports of its use are switched off unless ``MLFLOW_DISABLE_TELEMETRY`` says otherwise.
    """

    name = "mlflow"

    def __init__(self, where: Path | str | None = None, *, experiment: str | None = None) -> None:
        require_extra("mlflow", ["mlflow"], what="writing to MLflow")
        super().__init__()
        chosen = os.environ.get("MLFLOW_TRACKING_URI") if where is None else str(where)
        self._is_chosen = bool(chosen)
        self.uri = _absolute(chosen or "mlruns")
        self.experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gossipfl"
        self._client: Any = None
        self._id = ""
        self._began = 0  # milliseconds

    def settle(self, earlier: str | None) -> str:
        """The tracking URI, without a password."""
        if earlier is not None and not self._is_chosen:
            self.uri = earlier
        return _PASSWORD.sub("//", self.uri)

    def open(self, scenario: Scenario, directory: Path | None, run: str | None) -> str:
        """Create a run with its parameters, or continue one."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer ones ask for a database
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        from sims.scenario import to_toml

        self._client = MlflowClient(self.uri)
        if run is not None:
            self._id = run
            self._began = self._client.get_run(run).info.start_time
            self._client.update_run(run, status="RUNNING")
            return run
        self._began = int(time.time() * 1000)
        created = self._client.create_run(
            self._experiment(),
            run_name=scenario.name,
            start_time=self._began,
            tags={"gossipfl": "simulation"},
        )
        self._id = created.info.run_id
        values = flat(scenario)
        parameters = [Param(_name(key), _cut(str(value))) for key, value in values.items()]
        for first in range(0, len(parameters), _PARAMETERS_A_BATCH):
            self._client.log_batch(self._id, params=parameters[first : first + _PARAMETERS_A_BATCH])
        self._client.log_text(self._id, to_toml(scenario), "scenario.toml")
        return self._id

    def write(self, row: Mapping[str, float]) -> None:
        """Log every number of an evaluation."""
        from mlflow.entities import Metric

        when = self._began + round(row["seconds"] * 1000)
        metrics = [Metric(_name(key), value, when, round(row["round"])) for key, value in row.items()]
        for first in range(0, len(metrics), _METRICS_A_BATCH):
            self._client.log_batch(self._id, metrics=metrics[first : first + _METRICS_A_BATCH])

    def close(self, state: str, result: Result | None) -> None:
        """Log the summary and the result's hash, and say how the run ended."""
        if result is not None:
            self._client.log_text(self._id, json.dumps(result.summary, indent=2) + "\n", "run.json")
            self._client.set_tag(self._id, "result.sha256", result.summary["result"]["sha256"])
        self._client.set_tag(self._id, "state", state)
        self._client.set_terminated(self._id, _STATES[state])

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                created: str = self._client.create_experiment(self.experiment)
            except MlflowException:  # another process was faster
                found = self._client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
            else:
                return created
        identifier: str = found.experiment_id
        return identifier


def _absolute(place: str) -> str:
    """A directory, or the file of a database, from wherever a run is resumed."""
    if found := _RELATIVE.fullmatch(place):
        return f"{found['database']}{Path(found['path']).absolute()}"
    return place if re.match(r"[a-z+-]+:", place) else str(Path(place).resolve())


def _name(key: str) -> str:
    """The key as a file's name: in directories, a metric cannot be above another one."""
    return re.sub(r"[^\w. -]", "_", key.replace("/", "."))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
