"""Exact summaries of a table, which add up the same in any order and any grouping."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import MalformedStatement
from gossipfl.statistics.schema import MOST_CATEGORIES, ColumnSchema, TableSchema

__all__ = [
    "MOST_NAME_BYTES",
    "MOST_ROWS",
    "CategorySummary",
    "ColumnSummary",
    "NumberSummary",
    "Summary",
    "merged",
    "require_plausible",
]

MOST_ROWS: Final = 2**40
MOST_NAME_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSummary:
    """Sums over the numbers of a column.

    Parameters
    ----------
    present : int
        Rows that have a number; 0 if the column is not told.
    total, squares : int
        Sum in units, and sum of squares in squared units (`gossipfl.statistics.units`).
    extremes : tuple of int, optional
        Least and largest number in units, where the schema asks for them.
    """

    present: int = 0
    total: int = 0
    squares: int = 0
    extremes: tuple[int, int] | None = None

    def __add__(self, other: NumberSummary) -> NumberSummary:
        """Summarise the rows of both."""
        pairs = [each.extremes for each in (self, other) if each.extremes is not None]
        return NumberSummary(
            present=self.present + other.present,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            extremes=(min(low for low, _ in pairs), max(high for _, high in pairs)) if pairs else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySummary:
    """Rows of each category of a column.

    Parameters
    ----------
    rows : mapping of str to int
        By name, for categories of enough rows.
    other : int
        Rows of all other categories together.
    """

    rows: Mapping[str, int]
    other: int = 0

    @property
    def present(self) -> int:
        """Rows that have a category."""
        return sum(self.rows.values()) + self.other

    def __add__(self, other: CategorySummary) -> CategorySummary:
        """Summarise the rows of both."""
        counts = Counter(self.rows) + Counter(other.rows)
        return CategorySummary(rows=dict(sorted(counts.items())), other=self.other + other.other)

    def commonest(self, most: int = MOST_CATEGORIES) -> tuple[str, ...]:
        """Return the names of the categories with the most rows, in alphabetical order."""
        return tuple(sorted(sorted(self.rows, key=lambda name: (-self.rows[name], name))[:most]))


ColumnSummary = NumberSummary | CategorySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one member, or several together, tell of their tables.

    Parameters
    ----------
    rows : int
        All rows, whatever is missing in them.
    columns : tuple of ColumnSummary
        In the schema's order.
    """

    rows: int
    columns: tuple[ColumnSummary, ...]


def merged(summaries: Iterable[Summary], schema: TableSchema) -> Summary:
    """Return the summary of all rows together; the order does not matter."""
    total = Summary(rows=0, columns=tuple(nothing(column) for column in schema.columns.values()))
    for each in summaries:
        total = Summary(
            rows=total.rows + each.rows,
            columns=tuple(_sum(a, b) for a, b in zip(total.columns, each.columns, strict=True)),
        )
    return total


def nothing(column: ColumnSchema) -> ColumnSummary:
    """Return the summary of a column that no row has, or that is not told."""
    return NumberSummary() if column.kind == "number" else CategorySummary(rows={})


def _sum(one: ColumnSummary, other: ColumnSummary) -> ColumnSummary:
    if isinstance(one, NumberSummary) and isinstance(other, NumberSummary):
        return one + other
    if isinstance(one, CategorySummary) and isinstance(other, CategorySummary):
        return one + other
    raise MalformedStatement("two summaries of a column are of different kinds")


def require_plausible(summary: Summary, schema: TableSchema) -> None:
    """Require that there is a table of this schema with this summary, as far as its sums show.

    Raises
    ------
    MalformedStatement
        Counts are too large or contradict each other, a variance would be negative, or something is told that the
        schema says is not.
    """
    kinds = [
        NumberSummary if column.kind == "number" else CategorySummary for column in schema.columns.values()
    ]
    if [type(each) for each in summary.columns] != kinds:
        raise MalformedStatement("a summary has other columns than the schema")
    if not 0 <= summary.rows <= MOST_ROWS:
        raise MalformedStatement(
            "a summary has too many rows", expected=f"at most {MOST_ROWS}", got=summary.rows
        )
    for (name, column), each in zip(schema.columns.items(), summary.columns, strict=True):
        wrong = _contradiction(each, column, schema.least_rows)
        if wrong is None and each.present > summary.rows:
            wrong = "has values in more rows than there are"
        if wrong is not None:
            raise MalformedStatement(f"the summary of column {name!r} {wrong}")


def _contradiction(each: ColumnSummary, column: ColumnSchema, least_rows: int) -> str | None:
    if isinstance(each, CategorySummary):
        return _contradiction_of_categories(each, least_rows)
    if each.present == 0:
        return None if each == NumberSummary() else "has sums of no numbers"
    (low, high), told = column.limits, each.extremes
    least, most = (low, high) if told is None else told
    wrong = {
        f"is told for fewer than {least_rows} rows": each.present < least_rows,
        "has extremes, or lacks them, against the schema": (told is not None) != column.extremes,
        "has extremes out of range or of order": not low <= least <= most <= high,
        "has a sum that its range rules out": not least * each.present <= each.total <= most * each.present,
        "has a negative variance": each.total**2 > each.present * each.squares,
        "has a sum of squares that its range rules out": each.squares
        > each.present * max(least * least, most * most),
    }
    return next((what for what, is_so in wrong.items() if is_so), None)


def _contradiction_of_categories(each: CategorySummary, least_rows: int) -> str | None:
    if len(each.rows) > MOST_CATEGORIES:
        return f"has more than {MOST_CATEGORIES} categories"
    if each.other < 0 or any(rows < least_rows for rows in each.rows.values()):
        return f"names categories of fewer than {least_rows} rows"
    if not all(is_name(name) for name in each.rows):
        return "has unprintable names of categories"
    return None


def is_name(text: str) -> bool:
    """Return whether a text can be told as the name of a category: printable, and not too long."""
    printable = all(unicodedata.category(letter)[0] not in "CZ" or letter == " " for letter in text)
    return bool(text) and text == text.strip() and printable and len(text.encode()) <= MOST_NAME_BYTES
