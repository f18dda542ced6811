"""Tables in the terminal."""

from __future__ import annotations

from math import isinf

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

__all__ = ["cell", "plain", "print_table"]

_SPACES_BETWEEN_COLUMNS = 3
_NARROWEST_NAME = 12


def print_table(
    headings: list[str], rows: list[list[str]], *, title: str | None = None, numbers: bool = False
) -> None:
    """Print a table; with `numbers` all columns but the first are set flush right and never broken.

    Where that is too wide for the terminal, headings are broken over several lines, then names in the first
    column.
    """
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, pad_edge=False)
    widths = _widths(headings, rows, console.width) if numbers else [None] * len(headings)
    for index, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        justify: JustifyMethod = "right" if numbers and index else "left"
        table.add_column(Text(heading), justify=justify, width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    needed = sum(width or 0 for width in widths) + _SPACES_BETWEEN_COLUMNS * (len(widths) - 1)
    Console(width=max(console.width, needed)).print(table)


def _widths(headings: list[str], rows: list[list[str]], available: int) -> list[int]:
    """Widths of columns whose cells are not broken, except in the first column if necessary."""
    cells = [max((cell_len(text) for text in column), default=0) for column in zip(*rows, strict=True)]
    cells = cells or [0] * len(headings)
    available -= _SPACES_BETWEEN_COLUMNS * (len(headings) - 1)
    widths = [max(cell_len(heading), cell) for heading, cell in zip(headings, cells, strict=True)]
    if sum(widths) <= available:
        return widths
    words = [max(cell_len(word) for word in heading.split() or [""]) for heading in headings]
    widths = [widths[0], *(max(word, cell) for word, cell in zip(words[1:], cells[1:], strict=True))]
    left = available - sum(widths[1:])
    return [min(widths[0], max(left, _NARROWEST_NAME)), *widths[1:]]


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
