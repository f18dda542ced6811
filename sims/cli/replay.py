"""``gossipfl sim replay``: recorded runs of real peers, computed again.

Importing this loads no heavy library; the command loads what it needs when it runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["PeerDirectories", "replay"]

PeerDirectories = Annotated[
    list[Path],
    typer.Argument(help="Homes of all the peers of one network, running or not.", show_default=False),
]


def replay(
    peer_dirs: PeerDirectories,
    *,
    batched: Annotated[
        bool, typer.Option("--batched", help="Many rows at once, as in simulations; not bit for bit.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute the models of real peers again from their records, and compare them with their checkpoints.

    One row at a time, on the machine of the run, they agree bit for bit; batched, within 1e-4 relative. Exit
    code 1 if a peer's does not.
    """
    from sims import replay as replaying
    from sims.replay.display import report_table

    report = replaying.replay(peer_dirs, batched=batched)
    if json_output:
        typer.echo(json.dumps(report.to_dict()))
    else:
        from rich.console import Console

        Console().print(report_table(report))
        for note in report.notes:
            typer.echo(f"Note: {note}")
    sys.exit(0 if report.equal else 1)
