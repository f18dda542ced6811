"""Protections of summaries: what is told of few rows, of columns that were not opted in, and of strange values."""

import dataclasses
import json

import pytest

from gossipfl.errors import InvalidTask, MalformedStatement, SettingError, StatisticsMissing
from gossipfl.statistics import (
    CategorySummary,
    CommonStatistics,
    NumberSummary,
    TableSchema,
    load_schema,
    merged,
    require_plausible,
)
from gossipfl.tasks.table_rows import read_rows, summarised

from .tables import SCHEMA, SCHEMA_TEXT, row, told, write_csv


def test_numbers_of_too_few_rows_are_not_told():
    two = told([row(age="40"), row(age="80"), row(age="")])
    assert two.columns[0] == NumberSummary()
    assert two.rows == 3
    assert told([row(age="40")] * 3).columns[0].present == 3


def test_categories_of_too_few_rows_are_not_named():
    summary = told([row(ward="common")] * 3 + [row(ward="rare")] * 2 + [row(ward="")])
    assert summary.columns[1] == CategorySummary(rows={"common": 3}, other=2)
    assert "rare" not in repr(summary)


def test_extremes_are_told_only_where_the_schema_asks():
    summary = told([row(age="40"), row(age="50"), row(age="60")])
    assert summary.columns[0].extremes is None
    assert summary.columns[2].extremes is not None


def test_numbers_out_of_range_count_as_missing():
    rows = [row(age="40")] * 3 + [row(age="999"), row(age="-1")]
    assert told(rows).columns[0].present == 3


def test_nothing_is_told_of_a_column_that_was_not_opted_in():
    summary = summarised([row()] * 9, SCHEMA, told=["ward"])
    assert summary.columns[0] == summary.columns[2] == NumberSummary()
    assert summary.columns[1].rows == {"a": 9}
    require_plausible(summary, SCHEMA)


def changed(place, **values):
    good = told([row(age="40", dose="1"), row(age="50", dose="2"), row(age="60", dose="3")])
    columns = list(good.columns)
    columns[place] = dataclasses.replace(columns[place], **values)
    return dataclasses.replace(good, columns=tuple(columns))


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (dataclasses.replace(changed(0), rows=2**41), "too many rows"),
        (dataclasses.replace(changed(0), rows=-1), "too many rows"),
        (dataclasses.replace(changed(0), rows=2), "more rows than there are"),
        (dataclasses.replace(changed(0), columns=()), "other columns"),
        (changed(0, present=2**50), "more rows than there are|range rules out|variance"),
        (changed(0, present=2), "fewer than 3 rows"),
        (changed(0, present=0), "sums of no numbers"),
        (changed(0, squares=0), "negative variance"),
        (changed(0, squares=-1), "negative variance"),
        (changed(0, total=-1), "its range rules out"),
        (changed(0, total=500 * 10**12), "its range rules out"),
        (changed(0, squares=10**40), "its range rules out"),
        (changed(0, extremes=(0, 1)), "extremes, or lacks them"),
        (changed(2, extremes=None), "extremes, or lacks them"),
        (changed(2, extremes=(3 * 10**12, 10**12)), "out of range or of order"),
        (changed(2, extremes=(10**12, 15 * 10**11)), "its range rules out"),
        (changed(1, rows={"a": 1}), "names categories of fewer than 3"),
        (changed(1, other=-1), "names categories of fewer than 3"),
        (changed(1, rows={str(name): 3 for name in range(65)}), "more than 64 categories"),
        (changed(1, rows={"a\n": 3}), "unprintable"),
        (changed(1, rows={"\u202egnp": 3}), "unprintable"),
        (changed(1, rows={"": 3}), "unprintable"),
        (changed(1, rows={"x" * 65: 3}), "unprintable"),
    ],
)
def test_a_summary_that_no_table_has_is_refused(lie, reason):
    require_plausible(changed(0), SCHEMA)
    with pytest.raises(MalformedStatement, match=reason):
        require_plausible(lie, SCHEMA)


def test_a_common_list_has_a_bounded_number_of_categories():
    tables = [
        merged([told([row(ward=f"{member}-{name}")] * (3 + name)) for name in range(60)], SCHEMA)
        for member in "ab"
    ]
    common = CommonStatistics(schema=SCHEMA, members={}, total=merged(tables, SCHEMA))
    assert len(common.categories("ward")) == 64
    assert "a-59" in common.categories("ward")
    assert "a-0" not in common.categories("ward")


def kept(tmp_path, **changes):
    common = CommonStatistics(schema=SCHEMA, members={"one": 4}, total=told([row()] * 4))
    file = tmp_path / "stats.json"
    file.write_bytes(common.to_bytes())
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, **changes}))
    return file, common


def test_statistics_survive_their_file(tmp_path):
    file, common = kept(tmp_path)
    read = CommonStatistics.load(file)
    assert read == common
    assert read.digest == common.digest


@pytest.mark.parametrize("changes", [{"rows": 5}, {"members": {"two": 4}}, {"digest": None}])
def test_statistics_that_were_changed_are_refused(tmp_path, changes):
    with pytest.raises(InvalidTask, match="were changed"):
        CommonStatistics.load(kept(tmp_path, **changes)[0])


@pytest.mark.parametrize("changes", [{"version": 2}, {"columns": {}}, {"schema": {}}, {"rows": "many"}])
def test_a_file_that_is_none_is_named(tmp_path, changes):
    with pytest.raises(InvalidTask, match="cannot be read"):
        CommonStatistics.load(kept(tmp_path, **changes)[0])
    with pytest.raises(StatisticsMissing, match="gossipfl stats gather"):
        CommonStatistics.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ill > 0", "ill"), "label: expected a rule"),
        (("ill > 0", "age > 0"), "must not be among the columns"),
        (("[0, 120]", "[120, 0]"), "the least first"),
        (('"category" }', '"category", extremes = true }'), "are for numbers"),
        (('"category"', '"words"'), "kind"),
        (("least_rows = 3", "least_rows = 1"), "least_rows"),
        (("least_rows = 3", "least_rows ="), "not TOML"),
    ],
)
def test_a_mistake_in_a_schema_is_named_with_its_place(tmp_path, change, message):
    file = tmp_path / "schema.toml"
    file.write_text(SCHEMA_TEXT)
    assert load_schema(file) == SCHEMA
    file.write_text(SCHEMA_TEXT.replace(*change))
    with pytest.raises(SettingError, match=message):
        load_schema(file)


def test_the_digest_of_a_schema_covers_the_order_of_its_columns():
    values = SCHEMA.model_dump()
    turned = TableSchema.model_validate({**values, "columns": dict(reversed(values["columns"].items()))})
    assert turned.digest != SCHEMA.digest
    assert TableSchema.model_validate(values).digest == SCHEMA.digest


def test_mistakes_in_a_table_are_named_with_their_line(tmp_path):
    file = write_csv(tmp_path / "table.csv", [row(), row(age="forty")])
    with pytest.raises(InvalidTask, match=r"table.csv:3: column 'age' holds no number.*got 'forty'"):
        read_rows(file, SCHEMA)
    file.write_text("age,ward\n1,2\n")
    with pytest.raises(InvalidTask, match="lacks columns of the schema; expected dose, ill"):
        read_rows(file, SCHEMA)
    with pytest.raises(InvalidTask, match="cannot be read"):
        read_rows(tmp_path / "none.csv", SCHEMA)
