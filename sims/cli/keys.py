"""``gossipfl sim keys``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gossipfl.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gossipfl.settings.keys import KeyTable

__all__ = ["keys"]


def keys(
    sought: Annotated[
        str | None,
        typer.Argument(
            help="A table such as network, a key such as network.loss, or a word; all tables unless given.",
            show_default=False,
        ),
    ] = None,
    *,
    of: Annotated[Literal["scenario", "sweep"], typer.Option("--of", help="Kind of file.")] = "scenario",
    name: Annotated[
        str | None, typer.Option("--name", help="Only this form of a table, e.g. algorithm --name d_psgd.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show what can be set in a scenario or a sweep: every key, what it takes, its default and meaning."""
    from gossipfl.cli.key_display import show_tables

    tables = _of_sweep() if of == "sweep" else _of_scenario()
    show_tables(tables, sought=sought, form=name, as_json=json_output)


def _of_sweep() -> Iterator[KeyTable]:
    from gossipfl.settings.keys import key_tables
    from sims.sweeping.settings import Sweep

    yield from key_tables(Sweep)


def _of_scenario() -> Iterator[KeyTable]:
    from gossipfl.settings.keys import key_tables
    from sims.scenario import Scenario
    from sims.scenario.forms import algorithm_tables, attack_tables

    for table in key_tables(Scenario):
        yield table
        if table.place == "algorithm":
            yield from algorithm_tables()
        elif table.place == "attack":
            yield from attack_tables()
