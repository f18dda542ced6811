"""``gossipfl algorithms``: list algorithms, show one, and check one of your own."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gossipfl.cli.options import JsonOption, command_group, tell

__all__ = ["app"]

app = command_group("List algorithms, show one, and check one of your own.")

NameArgument = Annotated[str, typer.Argument(help="An algorithm, or package.module:Class.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter, as KEY=VALUE; as often as needed.")
]


@app.command("list")
def list_all(*, json_output: JsonOption = False) -> None:
    """List all algorithms: bundled ones, and those of installed packages."""
    from gossipfl.algorithms.description import described
    from gossipfl.algorithms.registry import algorithm_names, find_algorithm

    found = [described(name, find_algorithm(name)) for name in algorithm_names()]
    if json_output:
        typer.echo(json.dumps([each.to_dict() for each in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("name", "when", "runs in", "paper"):
        table.add_column(title)
    for each in found:
        table.add_row(each.name, each.kind, each.places, each.paper)
    Console().print(table)
    typer.echo("`gossipfl algorithms show NAME` has the rule, requirements and parameters of each.")


@app.command()
def show(name: NameArgument, *, json_output: JsonOption = False) -> None:
    """Show the rule of an algorithm, its paper, what it requires, and its parameters."""
    from gossipfl.algorithms.description import described
    from gossipfl.algorithms.registry import find_algorithm

    found = described(name, find_algorithm(name))
    lines = [f"{title + ':':<14}{value}" for title, value in found.facts().items()]
    lines.append("parameters:" if found.parameters else "parameters:   none")
    lines += [f"  {each.text}" for each in found.parameters]
    tell(found.to_dict(), lines, as_json=json_output)


@app.command()
def check(name: NameArgument, *, settings: SetOption = None, json_output: JsonOption = False) -> None:
    """Check an algorithm against the contract that the simulator, peers and replay rely on.

    The exit code is 1 if something does not hold.
    """
    from gossipfl.algorithms import check_algorithm, make_algorithm
    from gossipfl.algorithms.description import example_settings
    from gossipfl.algorithms.registry import find_algorithm
    from gossipfl.cli.flags import parse_assignment

    given: dict[str, Any] = dict(parse_assignment(each) for each in settings or [])
    values = {**example_settings(find_algorithm(name)), **given}
    findings = check_algorithm(make_algorithm(name, values, key="--set"))
    told = [{"check": each.check, "problem": each.problem} for each in findings]
    lines = []
    for each in findings:
        lines.append(f"{'ok  ' if each.problem is None else 'FAIL'} {each.check}")
        lines += [] if each.problem is None else [f"     {each.problem}"]
    tell(told, lines, as_json=json_output)
    if any(each.problem for each in findings):
        raise typer.Exit(1)
