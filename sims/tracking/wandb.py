"""Runs of Weights & Biases, written while a run goes on; offline unless told otherwise."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gossipfl.extras import require_extra
from sims.tracking.tracker import Tracker, flat

if TYPE_CHECKING:
    from sims.running.result import Result
    from sims.scenario import Scenario

__all__ = ["WeightsAndBiases"]

_ONLINE = "online:"
_EXIT_CODES = {"finished": 0, "interrupted": 130, "failed": 1}


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases: the scenario's keys as configuration, every column over rounds.

    Parameters
    ----------
    where : path, optional
        Directory in which ``wandb`` is made; by default that of the environment's ``WANDB_DIR``, or this one.
    project : str, optional
        By default that of ``WANDB_PROJECT``, or ``gossipfl``.
    mode : {'offline', 'online'}, optional
        By default that of ``WANDB_MODE``, or offline: files for ``wandb sync``, and nobody is contacted.

    Raises
    ------
    SettingError
        If wandb is not installed.
    """

    name = "wandb"

    def __init__(
        self,
        where: Path | str | None = None,
        *,
        project: str | None = None,
        mode: Literal["offline", "online"] | None = None,
    ) -> None:
        require_extra("wandb", ["wandb"], what="writing to Weights & Biases")
        super().__init__()
        chosen = os.environ.get("WANDB_DIR") if where is None else where
        self._is_chosen = bool(chosen)
        self._where = Path(chosen or ".").absolute()
        self.project = project or os.environ.get("WANDB_PROJECT") or "gossipfl"
        self.mode: Any = mode or os.environ.get("WANDB_MODE") or "offline"
        self._live: Any = None

    def settle(self, earlier: str | None) -> str:
        """The directory, or the project on the server."""
        if self.mode == "online":
            return f"{_ONLINE}{self.project}"
        if earlier is not None and not self._is_chosen and not earlier.startswith(_ONLINE):
            self._where = Path(earlier)
        return str(self._where)

    def open(self, scenario: Scenario, directory: Path | None, run: str | None) -> str:
        """Begin or continue a run."""
        if self.mode != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        from sims.scenario import to_toml

        self._where.mkdir(parents=True, exist_ok=True)
        self._live = wandb.init(
            project=self.project,
            name=scenario.name,
            id=run,
            resume=None if run is None else "allow",
            config=flat(scenario),
            dir=self._where,
            mode=self.mode,
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=self.mode != "online", x_disable_stats=True),
        )
        self._live.define_metric("*", step_metric="round")
        self._attach("scenario.toml", to_toml(scenario))
        identifier: str = self._live.id
        return identifier

    def write(self, row: Mapping[str, float]) -> None:
        """Log every number of an evaluation."""
        self._live.log(dict(row))

    def close(self, state: str, result: Result | None) -> None:
        """Attach the summary, and say how the run ended."""
        self._live.summary["state"] = state
        if result is not None:
            self._live.summary["result.sha256"] = result.summary["result"]["sha256"]
            self._attach("run.json", json.dumps(result.summary, indent=2) + "\n")
        self._live.finish(exit_code=_EXIT_CODES[state])

    def _attach(self, name: str, text: str) -> None:
        folder = Path(self._live.dir)
        (folder / name).write_text(text, encoding="utf-8")
        self._live.save(str(folder / name), base_path=str(folder), policy="now")
