"""Tables in the terminal."""

from __future__ import annotations

from math import isinf

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["cell", "plain", "print_table"]


def print_table(
    headings: list[str], rows: list[list[str]], *, title: str | None = None, numbers: bool = False
) -> None:
    """Print a table; with `numbers` all columns but the first are set flush right."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(
            Text(heading),
            justify="right" if numbers and index else "left",
            no_wrap=index == 0 and numbers,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)


def plain(number: float) -> str:
    """A number as people write it: 1e-6, not 1e-06."""
    return f"{number:g}".replace("e-0", "e-").replace("e+0", "e")


def cell(value: object, name: str = "") -> str:
    """A value as a table shows it."""
    if value is None:
        return "random" if name == "period" else "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if isinf(value):
            return "never"
        if name.startswith("bytes"):
            return f"{value / 1e6:,.1f}"
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
