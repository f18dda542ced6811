"""Tables for tests: a schema, rows that fit it, and what their owner would tell of them."""

import csv

from hypothesis import strategies as st

from gossipfl.statistics import TableSchema
from gossipfl.tasks.table_rows import summarised

SCHEMA = TableSchema(
    name="patients",
    label="ill > 0",
    least_rows=3,
    columns={
        "age": {"kind": "number", "range": [0, 120]},
        "ward": {"kind": "category"},
        "dose": {"kind": "number", "extremes": True},
    },
)
SCHEMA_TEXT = """
name = "patients"
label = "ill > 0"
least_rows = 3

[columns]
age = { kind = "number", range = [0, 120] }
ward = { kind = "category" }
dose = { kind = "number", extremes = true }
"""


def row(age="50", ward="a", dose="1.5", ill="0"):
    return {"age": age, "ward": ward, "dose": dose, "ill": ill}


def told(rows, schema=SCHEMA):
    return summarised(rows, schema, told=tuple(schema.columns))


def rows_of(*, least=0, most=30):
    decimals = st.decimals(min_value=-1000, max_value=1000, allow_nan=False, places=9).map(str)
    floats = st.floats(-1e14, 1e14).map(repr)
    missing = st.sampled_from(["", "NA", "?"])
    ages = st.one_of(st.integers(-5, 130).map(str), missing)
    wards = st.sampled_from(["a", "b", "c d", "Ω", "", "?"])
    one = st.builds(row, age=ages, ward=wards, dose=st.one_of(decimals, floats, missing))
    return st.lists(one, min_size=least, max_size=most)


def write_csv(file, rows):
    with file.open("w", newline="") as lines:
        table = csv.DictWriter(lines, ["age", "ward", "dose", "ill"])
        table.writeheader()
        table.writerows(rows)
    return file
