"""Schemas of tables: columns, their kinds and limits, and the label, the same file at every member."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from gossipfl.errors import SettingError
from gossipfl.settings.places import syntax_error
from gossipfl.settings.table import Table
from gossipfl.statistics.units import MOST_UNITS, to_units
from topology.parsing import toml_of
from topology.text import read_text

__all__ = ["MOST_CATEGORIES", "MOST_COLUMNS", "ColumnSchema", "Label", "TableSchema", "load_schema"]

MOST_COLUMNS: Final = 256
MOST_CATEGORIES: Final = 64
_LABEL: Final = re.compile(r"\s*(.+?)\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*")


class ColumnSchema(Table):
    """A column of a table."""

    kind: Literal["number", "category"]
    """whether it holds numbers, which are standardised, or categories, each of which becomes an input"""
    range: tuple[float, float] | None = None
    """least and largest number that can be right; any other counts as missing"""
    extremes: bool = False
    """whether the least and the largest number of each member's table are told; each belongs to one person"""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ColumnSchema:
        if self.kind == "category" and (self.range is not None or self.extremes):
            raise ValueError("range and extremes are for numbers")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range: expected two numbers, the least first")
        return self

    @cached_property
    def limits(self) -> tuple[int, int]:
        """Least and largest number, in units."""
        if self.range is None:
            return -MOST_UNITS + 1, MOST_UNITS - 1
        low, high = (to_units(repr(each)) for each in self.range)
        return (-MOST_UNITS + 1 if low is None else low), (MOST_UNITS - 1 if high is None else high)


class Label(NamedTuple):
    """A rule for the class of a row: 1 where a column's number compares so with another, else 0."""

    column: str
    comparison: str
    number: float

    def of(self, value: float) -> int:
        """Return the class of a row with this number."""
        comparisons = {
            ">": value > self.number,
            ">=": value >= self.number,
            "<": value < self.number,
            "<=": value <= self.number,
            "==": value == self.number,
            "!=": value != self.number,
        }
        return int(comparisons[self.comparison])


class TableSchema(Table):
    """A table of which every member has its own rows.

    Examples
    --------
    >>> schema = TableSchema(name="iris", label="petals > 2", columns={"width": {"kind": "number"}})
    >>> schema.rule
    Label(column='petals', comparison='>', number=2.0)
    """

    name: str = Field(min_length=1, max_length=64)
    """name of the task"""
    label: str
    """class of a row: a rule, such as num > 0, or a column whose values are the classes"""
    classes: list[str] = Field(default_factory=list)
    """the values of the label's column, where it is no rule; rows with another value are left out"""
    least_rows: int = Field(10, ge=2)
    """numbers that fewer rows have, and categories of fewer rows, are not told"""
    missing: list[str] = Field(default_factory=lambda: ["", "NA", "NaN", "nan", "?"])
    """what stands where nothing is known"""
    columns: dict[str, ColumnSchema] = Field(min_length=1, max_length=MOST_COLUMNS)
    """the columns that a model learns from, in order"""

    @field_validator("columns")
    @classmethod
    def _names(cls, columns: dict[str, ColumnSchema]) -> dict[str, ColumnSchema]:
        wrong = [name for name in columns if not name or len(name) > 64]
        if wrong:
            raise ValueError("expected names of 1 to 64 characters")
        return columns

    @model_validator(mode="after")
    def _has_a_label(self) -> TableSchema:
        rule = self.rule
        if rule is None and len(self.classes) < 2:
            raise ValueError(
                "label: expected a rule, such as num > 0, or a column, with its values in classes, two or more"
            )
        if rule is not None and self.classes:
            raise ValueError("classes: only for a label that is no rule")
        if (self.label if rule is None else rule.column) in self.columns:
            raise ValueError("label: its column must not be among the columns to learn from")
        return self

    @property
    def rule(self) -> Label | None:
        """The label's rule; None if its column holds the classes."""
        parts = _LABEL.fullmatch(self.label)
        if parts is None:
            return None
        try:
            return Label(parts[1], parts[2], float(parts[3]))
        except ValueError:
            return None

    @property
    def label_column(self) -> str:
        """Name of the column that the label is made from."""
        rule = self.rule
        return self.label if rule is None else rule.column

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything in it, the order of columns included."""
        values = {
            **self.model_dump(mode="json"),
            "columns": list(self.model_dump(mode="json")["columns"].items()),
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()


def load_schema(file: Path | str) -> TableSchema:
    """Read a schema from a TOML file.

    Raises
    ------
    SettingError
        There is no such file, it is not TOML, or something in it is wrong.
    """
    file = Path(file)
    try:
        text = read_text(file)
        table = toml_of(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(syntax_error(error, str(file))) from None
    except (OSError, ValueError) as error:
        raise SettingError(
            f"the schema {file} cannot be read",
            got=getattr(error, "strerror", None) or str(error),
            remedy="All members need the same file: columns, their kinds, and the label.",
        ) from error
    return TableSchema.from_file(table, source=str(file), text=text)
