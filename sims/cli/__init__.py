"""The commands. Importing them loads no heavy library: each loads what it needs when it runs."""

from __future__ import annotations

import typer

from sims.cli.calibrate import calibrate
from sims.cli.cohorts import cohorts
from sims.cli.contribution import contribution
from sims.cli.fleet import fleet
from sims.cli.keys import keys
from sims.cli.papers import papers
from sims.cli.replay import replay
from sims.cli.run import run, scenarios
from sims.cli.sweep import sweep, tune

__all__ = ["app"]

app = typer.Typer(
    name="sim",
    no_args_is_help=True,
    help="Simulate networks of peers, replay recorded ones, and write scenarios from them.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(scenarios)
app.command()(keys)
app.command()(sweep)
app.command()(tune)
app.command()(papers)
app.command()(contribution)
app.command()(fleet)
app.command()(cohorts)
app.command()(replay)
app.command()(calibrate)
