"""The command ``gossipfl topology``: list, show, compare, advise, export and draw topologies.

Importing this loads no scientific library; each command loads what it needs when it runs.
"""

import typer

from topology.cli.advise import advise
from topology.cli.draw import draw
from topology.cli.export import export
from topology.cli.families import list_families
from topology.cli.show import compare, show

__all__ = ["app"]

app = typer.Typer(
    name="topology",
    help="Graphs and sequences for gossip: what they are, how information spreads over them, which one to deploy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("list")(list_families)
app.command("show")(show)
app.command("compare")(compare)
app.command("advise")(advise)
app.command("export")(export)
app.command("draw")(draw)
