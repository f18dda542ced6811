"""A calibrated scenario as files: the TOML, its sessions and its graph."""

from __future__ import annotations

from pathlib import Path

from sims.calibration.calibrate import Calibration
from sims.errors import InvalidScenario
from sims.scenario import Scenario, load_scenario, to_toml
from sims.scenario.network import ChurnSection, TraceChurn
from sims.scenario.scenario import TopologySection

__all__ = ["write_calibration"]


def write_calibration(calibration: Calibration, out: Path) -> list[Path]:
    """Write the scenario, with the sessions and the graph beside it if there are any, and read it back.

    Parameters
    ----------
    calibration : Calibration
    out : Path
        The TOML file; overwritten.

    Returns
    -------
    list of Path
        All files written, the scenario first.

    Raises
    ------
    InvalidScenario
        If a file cannot be written.
    """
    scenario = calibration.scenario
    files = {}
    if calibration.sessions:
        path = out.with_name(f"{out.stem}.sessions.csv")
        files[path] = "node,start,end\n" + "".join(
            f"{node},{start:.6f},{end:.6f}\n" for node, start, end in calibration.sessions
        )
        churn = ChurnSection(process=TraceChurn(kind="trace", file=Path(path.name)))
        scenario = scenario.model_copy(update={"churn": churn})
    if calibration.edges:
        path = out.with_name(f"{out.stem}.edges")
        files[path] = "".join(f"{i} {j}\n" for i, j in calibration.edges)
        graph = {"name": "file", "path": str(path.resolve()), "require_connected": False}
        scenario = scenario.model_copy(update={"topology": TopologySection.model_validate(graph)})
    said = "".join(f"# {line}\n" for line in calibration.lines())
    try:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        out.write_text(f"# Estimated from a recorded run.\n{said}\n{to_toml(scenario)}", encoding="utf-8")
    except OSError as error:
        raise InvalidScenario(f"{error.filename} cannot be written: {error.strerror}") from error
    written: Scenario = load_scenario(out)
    assert written.population == scenario.population  # noqa: S101 - what was written can be read
    return [out, *files]
