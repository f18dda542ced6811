"""``gossipfl sim calibrate``: a scenario fitted to a recorded run of real peers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sims.cli.replay import PeerDirectories

__all__ = ["calibrate"]


def calibrate(
    peer_dirs: PeerDirectories,
    *,
    out: Annotated[Path, typer.Option("--out", help="The scenario to write: a TOML file.")] = Path(
        "scenario.toml"
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a scenario whose clocks, delays, losses, step times and churn are those of a recorded run."""
    from sims.calibration.calibrate import calibrate as calibrated
    from sims.calibration.files import write_calibration

    calibration = calibrated(peer_dirs)
    files = write_calibration(calibration, out)
    if json_output:
        typer.echo(json.dumps({**calibration.to_dict(), "files": [str(file) for file in files]}))
        return
    for line in calibration.lines():
        typer.echo(line)
    typer.echo(f"Wrote {', '.join(str(file) for file in files)}. Run it: gossipfl sim run {out}")
