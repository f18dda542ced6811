"""Sums of summaries: those of the pooled rows, exactly, in any order and any grouping."""

import functools
import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.statistics import CommonStatistics, merged, require_plausible
from gossipfl.statistics.units import PLACES, decimal_of, from_units, to_units

from .tables import SCHEMA, row, rows_of, told

MISSING = set(SCHEMA.missing)


def exact(text):
    """A number to the nearest 10**-12, half to even, as a fraction."""
    scaled = Fraction(text) * 10**PLACES
    floor, rest = divmod(scaled.numerator, scaled.denominator)
    up = 2 * rest > scaled.denominator or (2 * rest == scaled.denominator and floor % 2)
    return Fraction(floor + up, 10**PLACES)


def expected_of(rows, column, *, low=-math.inf, high=math.inf):
    return [
        exact(each[column])
        for each in rows
        if each[column] not in MISSING and low <= exact(each[column]) <= high
    ]


@given(st.lists(rows_of(least=0), min_size=1, max_size=8), st.randoms())
@settings(max_examples=60, deadline=None)
def test_any_order_and_any_grouping_give_the_fractions_of_the_pooled_rows(tables, draw):
    summaries = [told(rows) for rows in tables]
    for each in summaries:
        require_plausible(each, SCHEMA)
    shuffled = draw.sample(summaries, len(summaries))
    while len(shuffled) > 1:  # in pairs, drawn anew each time
        one = shuffled.pop(draw.randrange(len(shuffled)))
        other = shuffled.pop(draw.randrange(len(shuffled)))
        shuffled.append(merged([one, other], SCHEMA))
    total = merged(shuffled, SCHEMA)
    assert total == merged(summaries, SCHEMA)
    require_plausible(total, SCHEMA)

    pooled = [each for rows in tables for each in rows]
    assert total.rows == len(pooled)
    for place, (column, low, high) in enumerate(
        [("age", 0, 120), ("ward", 0, 0), ("dose", -math.inf, math.inf)]
    ):
        got = total.columns[place]
        if column == "ward":
            assert got.present == sum(each["ward"] not in MISSING for each in pooled)
            continue
        told_ones = [
            values
            for rows in tables
            if len(values := expected_of(rows, column, low=low, high=high)) >= SCHEMA.least_rows
        ]
        numbers = [each for values in told_ones for each in values]
        assert got.present == len(numbers)
        assert Fraction(got.total, 10**PLACES) == sum(numbers, Fraction(0))
        assert Fraction(got.squares, 10 ** (2 * PLACES)) == sum((each**2 for each in numbers), Fraction(0))
        common = CommonStatistics(schema=SCHEMA, members={}, total=total)
        if numbers:
            mean = sum(numbers) / len(numbers)
            variance = sum((each - mean) ** 2 for each in numbers) / len(numbers)
            assert common.mean(column) == float(mean)
            assert common.deviation(column) == math.sqrt(variance)
        if column == "dose" and numbers:
            assert common.extremes("dose") == (float(min(numbers)), float(max(numbers)))


@given(rows_of(least=3))
@settings(max_examples=40, deadline=None)
def test_a_table_that_is_split_has_the_sums_of_the_whole_where_all_is_told(rows):
    rows = [{**each, "ward": "a", "age": "7", "dose": "0.1"} for each in rows] * 3
    thirds = [rows[::3], rows[1::3], rows[2::3]]
    assert merged(map(told, thirds), SCHEMA) == told(rows)


@pytest.mark.parametrize("members", [1, 4, 200])
def test_the_digest_is_the_same_whoever_adds_up(members):
    draw = random.Random(members)
    tables = {
        f"peer-{number}": told([row(age=str(draw.randrange(100)), dose=repr(draw.gauss(0, 1)))] * 4)
        for number in range(members)
    }

    def common(names):
        total = functools.reduce(lambda a, b: merged([a, b], SCHEMA), (tables[name] for name in names))
        return CommonStatistics(
            schema=SCHEMA, members={name: tables[name].rows for name in names}, total=total
        )

    names = list(tables)
    digests = {common(draw.sample(names, members)).digest for _ in range(5)}
    assert len(digests) == 1
    assert common(names).digest != common([*names[:-1], names[0]]).digest or members == 1


@given(st.integers(-(10**27) + 1, 10**27 - 1))
def test_units_are_written_and_read_exactly(units):
    assert to_units(decimal_of(units)) == units
    assert from_units(units) == float(Fraction(units, 10**PLACES))


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e15", "1e999999999", "0x10", "two", "1_0e99"])
def test_what_is_no_number_has_no_units(text):
    assert to_units(text) is None
