"""TensorBoard's event files, written while a run goes on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gossipfl.extras import require_extra
from sims.tracking.tracker import Tracker, heading

if TYPE_CHECKING:
    from sims.running.result import Result
    from sims.scenario import Scenario

__all__ = ["TensorBoard"]


class TensorBoard(Tracker):
    """Scalars of each evaluation over rounds, with simulated seconds as their time.

    Parameters
    ----------
    where : path, optional
        Directory in which each run gets one of its own; by default ``tensorboard`` in the run's directory, or
        ``runs`` here where it has none.

    Raises
    ------
    SettingError
        If tensorboardX is not installed.
    """

    name = "tensorboard"

    def __init__(self, where: Path | str | None = None) -> None:
        require_extra("tensorboard", ["tensorboardX"], what="writing event files for TensorBoard")
        super().__init__()
        self._where = None if where is None else Path(where).absolute()
        self._writer: Any = None

    def settle(self, earlier: str | None) -> str:
        """The directory in which each run gets one; none where these are in those of runs."""
        return earlier or "" if self._where is None else str(self._where)

    def open(self, scenario: Scenario, directory: Path | None, run: str | None) -> str:
        """Open a directory of event files, and write the scenario there as text."""
        from tensorboardX import SummaryWriter

        from sims.scenario import to_toml

        # In a run's directory by its path there: it may be moved.
        base = directory or Path()
        folder = self._folder(scenario, directory) if run is None else base / run
        files = len(
            list(folder.glob("events.*"))
        )  # they are named by the second, and a resumed run may be fast
        self._writer = SummaryWriter(str(folder), filename_suffix=f".{files}", write_to_disk=True)
        if run is None:
            self._writer.add_text("scenario", f"```toml\n{to_toml(scenario)}\n```", 0, walltime=0.0)
        return str(folder.relative_to(base) if folder.is_relative_to(base) else folder.absolute())

    def write(self, row: Mapping[str, float]) -> None:
        """Write finite numbers as scalars at the nearest whole round."""
        metrics = [key.removesuffix("_median") for key in row if key.endswith("_median")]
        for key, value in row.items():
            if key not in ("round", "seconds") and math.isfinite(value):
                self._writer.add_scalar(
                    heading(key, metrics), value, global_step=round(row["round"]), walltime=row["seconds"]
                )
        self._writer.flush()  # somebody may be watching

    def close(self, state: str, result: Result | None) -> None:
        """Write how the run ended."""
        said = state if result is None else f"{state}, models and ages {result.summary['result']['sha256']}"
        self._writer.add_text("result", said, 0, walltime=0.0)
        self._writer.close()

    def _folder(self, scenario: Scenario, directory: Path | None) -> Path:
        if self._where is None and directory is not None:
            return directory / "tensorboard"
        name = re.sub(r"[^\w.=-]+", "-", scenario.name).strip("-") or "run"
        first = (self._where or Path("runs")) / f"{name}-seed-{scenario.seed}"
        first.parent.mkdir(parents=True, exist_ok=True)
        folder, count = first, 1
        while True:
            try:
                folder.mkdir()  # another process may have the same name
            except FileExistsError:
                count += 1
                folder = first.with_name(f"{first.name}-{count}")
            else:
                return folder
