"""Tables of settings in a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gossipfl.settings.keys import KeyTable

__all__ = ["show_tables"]


def show_tables(
    tables: Iterable[KeyTable], *, sought: str | None, form: str | None = None, as_json: bool
) -> None:
    """Print tables, or those that are sought, as text or as one JSON list.

    Raises
    ------
    SettingError
        There is no such table, key, word or form.
    """
    from gossipfl.errors import SettingError
    from gossipfl.settings.keys import chosen_tables
    from topology.spelling import did_you_mean

    chosen = list(tables) if sought is None else chosen_tables(tables, sought)
    if form is not None:
        forms = {name for each in chosen for name in re.findall(r'"(\w+)"', each.choice)}
        chosen = [each for each in chosen if f'"{form}"' in each.choice]
        if not chosen:
            raise SettingError(
                "none of these tables has this form",
                expected=", ".join(sorted(forms)) or "tables with several forms, such as algorithm",
                got=repr(form),
                remedy=did_you_mean(form, forms),
            )
    if as_json:
        for each in chosen:
            typer.echo(json.dumps(each.to_dict()))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for each in chosen:
        heading = " ".join(filter(None, [each.heading, each.choice]))
        console.print(f"\n[bold]{escape(heading)}[/bold]" if heading else "")
        console.print(escape(each.about), highlight=False)
        table = Table(box=None, padding=(0, 2, 0, 2))
        for title in ("key", "takes", "default"):
            table.add_column(title, overflow="fold", max_width=34)
        table.add_column("meaning", overflow="fold", ratio=1)
        for key in each.keys:
            table.add_row(*(escape(text) for text in (key.name, key.takes, key.default, key.meaning)))
        console.print(table, highlight=False)
