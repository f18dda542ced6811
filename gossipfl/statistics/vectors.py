"""Summaries as vectors of integers, so that their sums can be had without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gossipfl.errors import MalformedStatement
from gossipfl.statistics.schema import TableSchema
from gossipfl.statistics.summary import CategorySummary, ColumnSummary, NumberSummary, Summary

__all__ = ["Names", "names_of", "summary_of", "vector_of"]

Names = tuple[tuple[str, ...], ...]
"""Names of the categories of each column, in alphabetical order; none for a column of numbers."""

_FIELDS_OF_NUMBERS: Final = 3


def names_of(summary: Summary) -> Names:
    """Return the names of the categories that a summary tells."""
    return tuple(
        tuple(sorted(each.rows)) if isinstance(each, CategorySummary) else () for each in summary.columns
    )


def vector_of(summary: Summary, names: Names) -> list[int]:
    """Return a summary's numbers in a fixed order, with those of categories that it does not tell as 0.

    Parameters
    ----------
    summary : Summary
        Without extremes, which do not add up.
    names : Names
        Those of all members.
    """
    vector = [summary.rows]
    for each, told in zip(summary.columns, names, strict=True):
        if isinstance(each, NumberSummary):
            vector += [each.present, each.total, each.squares]
        else:
            vector += [*(each.rows.get(name, 0) for name in told), each.other]
    return vector


def summary_of(vector: Sequence[int], names: Names, schema: TableSchema) -> Summary:
    """Return the summary whose vector this is.

    Raises
    ------
    MalformedStatement
        It has another length, or a negative count.
    """
    numbers = iter(vector)
    columns = schema.columns.values()
    size = sum(
        _FIELDS_OF_NUMBERS if column.kind == "number" else len(told) + 1
        for column, told in zip(columns, names, strict=True)
    )
    if len(vector) != 1 + size:
        raise MalformedStatement("a vector of sums has the wrong length", expected=1 + size, got=len(vector))
    rows = next(numbers)
    told = zip(columns, names, strict=True)
    return Summary(rows=rows, columns=tuple(_column(column.kind, each, numbers) for column, each in told))


def _column(kind: str, names: Sequence[str], numbers: Iterator[int]) -> ColumnSummary:
    if kind == "number":
        present, total, squares = (next(numbers) for _ in range(_FIELDS_OF_NUMBERS))
        return NumberSummary(present=present, total=total, squares=squares)
    rows = {name: next(numbers) for name in names}
    return CategorySummary(rows={name: count for name, count in rows.items() if count}, other=next(numbers))
