"""Common parts of experiment trackers: a place to write to, and no row twice."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sims.tracking.callback import Callback
from topology.parsing import json_of

if TYPE_CHECKING:
    from sims.running.result import Result
    from sims.scenario import Scenario

__all__ = ["TRACKING", "Tracker", "flat", "heading"]

TRACKING = "tracking.json"
"""File of a run's directory that says which of a tracker's runs it is."""


class Tracker(Callback):
    """A callback that writes to a tracker of experiments.

    Which of its runs a directory's run is, in which place, and which round it has heard of, is kept in
    ``tracking.json`` there: a resumed run continues the same one wherever it is resumed, and no row is written
    twice. If another place was chosen meanwhile, a new one with all rows begins there.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._run: str | None = None
        self._place = ""
        self._round = -math.inf
        self._is_open = False

    @abstractmethod
    def settle(self, earlier: str | None) -> str:
        """Return the place to write to: the one that was chosen, else that of an earlier process, if any."""

    @abstractmethod
    def open(self, scenario: Scenario, directory: Path | None, run: str | None) -> str:
        """Begin a run, or continue `run`; return its name there."""

    @abstractmethod
    def write(self, row: Mapping[str, float]) -> None:
        """Write the numbers of an evaluation."""

    @abstractmethod
    def close(self, state: str, result: Result | None) -> None:
        """End the run as ``finished``, ``interrupted`` or ``failed``."""

    def started(
        self, scenario: Scenario, directory: Path | None, earlier: Sequence[Mapping[str, Any]]
    ) -> None:
        """Open a run and write earlier evaluations that it does not have."""
        if not self._is_open:
            self._directory = directory
            mine = self._file().get(self.name, {})
            place = mine.get("place")
            self._place = self.settle(place)
            if place in (None, self._place):
                self._run, self._round = mine.get("run"), mine.get("round", -math.inf)
            self._run = self.open(scenario, directory, self._run)
            self._is_open = True
            self._remember()
        for row in earlier:
            self.evaluated(row)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Write an evaluation unless it has been."""
        if row["round"] <= self._round:
            return
        self.write({key: float(value) for key, value in row.items() if isinstance(value, (int, float))})
        self._round = row["round"]
        self._remember()

    def ended(self, result: Result) -> None:
        """Write the outcome."""
        if self._is_open:
            self.close("finished" if result.finished else "interrupted", result)
            self._is_open = False

    def failed(self, error: BaseException) -> None:
        """Mark the run as failed."""
        if self._is_open:
            self.close("failed", None)
            self._is_open = False

    def _remember(self) -> None:
        if self._directory is None:
            return
        mine = {"run": self._run, "place": self._place} | (
            {} if math.isinf(self._round) else {"round": self._round}
        )
        temporary = self._directory / f".{TRACKING}.tmp"
        temporary.write_text(json.dumps({**self._file(), self.name: mine}, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self._directory / TRACKING)

    def _file(self) -> dict[str, Any]:
        if self._directory is None or not (self._directory / TRACKING).is_file():
            return {}
        try:
            found = json_of((self._directory / TRACKING).read_text(encoding="utf-8"))
            return {name: dict(mine) for name, mine in found.items()}
        except (ValueError, TypeError, AttributeError):  # damaged: the tracker begins a run of its own
            return {}


def flat(scenario: Scenario) -> dict[str, Any]:
    """Return the set keys of a scenario as ``section.key``, lists as JSON."""
    return dict(_flat(scenario.model_dump(mode="json", exclude_none=True), ""))


def _flat(value: Any, at: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of a table
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{at}.{key}" if at else key)
    elif value is not None:
        yield at, json.dumps(value) if isinstance(value, list) else value


def heading(column: str, metrics: Sequence[str]) -> str:
    """Return the name of a column with those of one metric under one heading, such as ``accuracy/mean``."""
    for metric in metrics:
        if column.startswith(f"{metric}_"):
            return f"{metric}/{column.removeprefix(f'{metric}_')}"
    return column if "/" in column else f"run/{column}"
