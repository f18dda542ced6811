"""Common statistics of all members' tables, and the file that keeps them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gossipfl.errors import GossipflError, InvalidTask, StatisticsMissing
from gossipfl.statistics.schema import TableSchema
from gossipfl.statistics.summary import CategorySummary, ColumnSummary, NumberSummary, Summary
from gossipfl.statistics.units import PLACES, decimal_of, from_units, squared_decimal_of
from topology.parsing import json_of

__all__ = ["MOST_MEMBERS", "CommonStatistics"]

MOST_MEMBERS: Final = 256
"""Members that gather statistics, or agree on words, together at most."""

_VERSION: Final = 1
_MOST_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class CommonStatistics:
    """Sums over the tables of some members, from which each of them scales its columns alike.

    Parameters
    ----------
    members : mapping of str to int
        Rows of each member, by peer id.
    total : Summary
        Of all their rows.
    statements : tuple of str
        What each member signed, in base 64; no part of the digest.
    """

    schema: TableSchema
    members: Mapping[str, int]
    total: Summary
    statements: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of schema, members and sums, in hexadecimal digits."""
        covered = [self.schema.digest.hex(), self._exact()]
        return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()

    def mean(self, column: str) -> float:
        """Return the mean of a column's numbers; 0 if none are told."""
        each = self._number(column)
        return float(Fraction(each.total, each.present * 10**PLACES)) if each.present else 0.0

    def deviation(self, column: str) -> float:
        """Return the standard deviation of a column's numbers, those of all members taken as a whole."""
        each = self._number(column)
        if not each.present:
            return 0.0
        squared = Fraction(each.present * each.squares - each.total**2, each.present**2 * 10 ** (2 * PLACES))
        return math.sqrt(squared)

    def extremes(self, column: str) -> tuple[float, float] | None:
        """Return the least and the largest number of a column; None where they are not told."""
        told = self._number(column).extremes
        return None if told is None else (from_units(told[0]), from_units(told[1]))

    def categories(self, column: str) -> tuple[str, ...]:
        """Return the names of a column's categories, in alphabetical order."""
        each = self._column(column)
        return each.commonest() if isinstance(each, CategorySummary) else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with sums as exact decimal numbers."""
        columns = {
            name: {**values, **self._described(name)} for name, values in self._exact()["columns"].items()
        }
        return {
            **self._exact(),
            "columns": columns,
            "digest": self.digest,
            "statements": list(self.statements),
        }

    def to_bytes(self) -> bytes:
        """Return the content of their file."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def load(cls, file: Path | str) -> CommonStatistics:
        """Read a file, and check that its digest is that of its sums.

        Raises
        ------
        StatisticsMissing
            There is no such file.
        InvalidTask
            It is none, or was changed.
        """
        file = Path(file)
        try:
            with file.open("rb") as content:
                values = json_of(content.read(_MOST_BYTES))
            read = cls._from_values(values)
        except FileNotFoundError as error:
            raise StatisticsMissing(
                f"there are no common statistics in {file} yet",
                remedy="Gather them with the other members: gossipfl stats gather.",
            ) from error
        except (
            OSError,
            ValueError,
            OverflowError,
            KeyError,
            TypeError,
            AttributeError,
            GossipflError,
        ) as error:
            raise InvalidTask(
                f"the common statistics in {file} cannot be read",
                expected="a file that gossipfl stats gather wrote",
                got=f"{type(error).__name__}: {error}",
            ) from error
        if read.digest != values.get("digest"):
            raise InvalidTask(
                f"the common statistics in {file} were changed",
                expected=f"digest {values.get('digest')}",
                got=read.digest,
                remedy="Copy the file of another member, or gather them again: gossipfl stats gather.",
            )
        return read

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> CommonStatistics:
        if values["version"] != _VERSION:
            raise ValueError(f"version {values['version']}")
        schema = TableSchema.model_validate(values["schema"])
        return cls(
            schema=schema,
            members={str(peer): int(rows) for peer, rows in values["members"].items()},
            total=Summary(
                rows=int(values["rows"]),
                columns=tuple(_column(values["columns"][name]) for name in schema.columns),
            ),
            statements=tuple(map(str, values["statements"])),
        )

    def _column(self, name: str) -> ColumnSummary:
        try:
            return self.total.columns[list(self.schema.columns).index(name)]
        except ValueError:
            raise InvalidTask(
                f"the common statistics have no column {name!r}", expected=", ".join(self.schema.columns)
            ) from None

    def _number(self, name: str) -> NumberSummary:
        each = self._column(name)
        if not isinstance(each, NumberSummary):
            raise InvalidTask(f"column {name!r} holds categories", expected="a column of numbers")
        return each

    def _exact(self) -> dict[str, Any]:
        """Return everything that the digest covers."""
        named = zip(self.schema.columns, self.total.columns, strict=True)
        return {
            "version": _VERSION,
            "schema": self.schema.model_dump(mode="json"),
            "members": dict(sorted(self.members.items())),
            "rows": self.total.rows,
            "columns": {name: exact_values(each) for name, each in named},
        }

    def _described(self, name: str) -> dict[str, Any]:
        if self.schema.columns[name].kind == "category":
            return {}
        return {"mean": self.mean(name), "deviation": self.deviation(name)}


def exact_values(each: ColumnSummary) -> dict[str, Any]:
    """Return a column's summary as plain values, with sums as exact decimal numbers."""
    if isinstance(each, CategorySummary):
        return {"categories": dict(sorted(each.rows.items())), "other": each.other}
    told = {
        "present": each.present,
        "sum": decimal_of(each.total),
        "squares": squared_decimal_of(each.squares),
    }
    if each.extremes is None:
        return told
    return {**told, "least": decimal_of(each.extremes[0]), "most": decimal_of(each.extremes[1])}


def _column(values: Mapping[str, Any]) -> ColumnSummary:
    if "categories" in values:
        rows = {str(name): int(count) for name, count in values["categories"].items()}
        return CategorySummary(rows=rows, other=int(values["other"]))
    extremes = None
    if "least" in values:
        extremes = (_exactly(values["least"], PLACES), _exactly(values["most"], PLACES))
    return NumberSummary(
        present=int(values["present"]),
        total=_exactly(values["sum"], PLACES),
        squares=_exactly(values["squares"], 2 * PLACES),
        extremes=extremes,
    )


def _exactly(text: str, places: int) -> int:
    return int(Fraction(text[:200]) * 10**places)
