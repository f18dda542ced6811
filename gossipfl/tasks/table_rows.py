"""Rows of a member's own table: reading, summaries within protections, and encoding by common statistics."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.statistics import (
    CategorySummary,
    ColumnSchema,
    CommonStatistics,
    NumberSummary,
    Summary,
    TableSchema,
)
from gossipfl.statistics.schema import MOST_CATEGORIES
from gossipfl.statistics.summary import is_name, nothing
from gossipfl.statistics.units import from_units, to_units

__all__ = ["classes_of", "encoded", "read_rows", "summarised", "width_of"]

Row = dict[str, str]


def read_rows(file: Path | str, schema: TableSchema) -> list[Row]:
    """Read the rows of a CSV file with a line of column names.

    Raises
    ------
    InvalidTask
        It cannot be read, lacks a column of the schema, or holds something else than a number in a column of
        numbers.
    """
    file = Path(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restval="")
            names = reader.fieldnames or []
            rows = [{name: (row[name] or "").strip() for name in names} for row in reader]
    except (OSError, csv.Error, ValueError) as error:
        raise InvalidTask(f"the table {file} cannot be read", got=str(error)) from error
    lacking = [name for name in (*schema.columns, schema.label_column) if name not in names]
    if lacking:
        raise InvalidTask(
            f"the table {file} lacks columns of the schema",
            expected=", ".join(lacking),
            got=", ".join(names),
            remedy="Name the columns of all members' tables alike.",
        )
    for name, column in schema.columns.items():
        if column.kind == "number":
            _require_numbers([row[name] for row in rows], name, schema, file)
    return rows


def _require_numbers(texts: Sequence[str], name: str, schema: TableSchema, file: Path) -> None:
    for place, text in enumerate(texts, start=2):
        if text not in schema.missing and to_units(text) is None:
            raise InvalidTask(
                f"{file}:{place}: column {name!r} holds no number",
                expected=f"a number below 10^15, or one of {schema.missing} where it is missing",
                got=repr(text[:40]),
                remedy="Correct the row, or add the text to `missing` in everybody's schema.",
            )


def summarised(rows: Sequence[Row], schema: TableSchema, *, told: Collection[str]) -> Summary:
    """Summarise a table for other members, within the schema's protections.

    A column of numbers is told only if enough rows have one, and categories of too few rows go unnamed.

    Parameters
    ----------
    told : collection of str
        Columns that may be told; of the others nothing is.
    """
    return Summary(
        rows=len(rows),
        columns=tuple(
            _summarised([row[name] for row in rows], column, schema) if name in told else nothing(column)
            for name, column in schema.columns.items()
        ),
    )


def _summarised(
    texts: Sequence[str], column: ColumnSchema, schema: TableSchema
) -> NumberSummary | CategorySummary:
    if column.kind == "category":
        counts = Counter(text for text in texts if text not in schema.missing)
        common = {name: rows for name, rows in counts.items() if rows >= schema.least_rows and is_name(name)}
        most = sorted(common, key=lambda name: (-common[name], name))[:MOST_CATEGORIES]
        named = {name: common[name] for name in sorted(most)}
        return CategorySummary(rows=named, other=sum(counts.values()) - sum(named.values()))
    numbers = [each for each in (_number(text, column, schema) for text in texts) if each is not None]
    if len(numbers) < schema.least_rows:
        return NumberSummary()
    return NumberSummary(
        present=len(numbers),
        total=sum(numbers),
        squares=sum(each * each for each in numbers),
        extremes=(min(numbers), max(numbers)) if column.extremes else None,
    )


def _number(text: str, column: ColumnSchema, schema: TableSchema) -> int | None:
    units = None if text in schema.missing else to_units(text)
    low, high = column.limits
    return units if units is not None and low <= units <= high else None


def width_of(statistics: CommonStatistics) -> int:
    """Return how many inputs a row is encoded in."""
    return sum(
        2 if column.kind == "number" else len(statistics.categories(name)) + 1
        for name, column in statistics.schema.columns.items()
    )


def encoded(rows: Sequence[Row], statistics: CommonStatistics) -> Tensor:
    """Encode rows by common statistics, alike at every member.

    A number becomes its distance from the common mean in common standard deviations, 0 where it is missing, and a
    1 where it is. A category becomes a 1 in the place of its name, or in that of missing ones; those that the
    statistics do not name are all zeros.

    Returns
    -------
    Tensor
        Shape ``[n, width]``, float32.
    """
    schema = statistics.schema
    inputs = torch.zeros(len(rows), width_of(statistics))
    start = 0
    for name, column in schema.columns.items():
        if column.kind == "number":
            mean, deviation = statistics.mean(name), statistics.deviation(name) or 1.0
            for place, row in enumerate(rows):
                units = _number(row[name], column, schema)
                inputs[place, start] = 0.0 if units is None else (from_units(units) - mean) / deviation
                inputs[place, start + 1] = float(units is None)
            start += 2
            continue
        places = {category: start + place for place, category in enumerate(statistics.categories(name))}
        for place, row in enumerate(rows):
            if row[name] in schema.missing:
                inputs[place, start + len(places)] = 1.0
            elif row[name] in places:
                inputs[place, places[row[name]]] = 1.0
        start += len(places) + 1
    return inputs


def classes_of(rows: Sequence[Row], schema: TableSchema) -> list[int | None]:
    """Return the class of each row by the schema's label; None where it is missing."""
    rule, column = schema.rule, schema.label_column
    classes: list[int | None] = []
    for row in rows:
        text = row[column]
        if text in schema.missing:
            classes.append(None)
        elif rule is None:
            classes.append(schema.classes.index(text) if text in schema.classes else None)
        else:
            units = to_units(text)
            if units is None:
                raise InvalidTask(
                    f"the label's column {column!r} holds no number",
                    expected=schema.label,
                    got=repr(text[:40]),
                )
            classes.append(rule.of(from_units(units)))
    return classes
