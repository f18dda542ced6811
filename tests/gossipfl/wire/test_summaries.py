"""Summaries on the wire: read as they were written, and refused where they were not written by their member."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import MalformedStatement
from gossipfl.network import Identity
from gossipfl.settings.addresses import public_key_of
from gossipfl.statistics import CategorySummary, NumberSummary, Summary, TableSchema
from gossipfl.wire.summaries import (
    MOST_SUMMARY_BYTES,
    SummaryStatement,
    place_of,
    read_summary,
    write_summary,
)
from tests.gossipfl.statistics.tables import SCHEMA, row, rows_of, told

NETWORK = bytes(range(32))
IDENTITY = Identity.generate()


def signed(summary, *, identity=IDENTITY, schema=SCHEMA, network=NETWORK, sequence=7, sign=None):
    key = public_key_of(identity.peer_id)
    statement = SummaryStatement(key=key, network=network, sequence=sequence, summary=summary)
    return write_summary(statement, schema, sign=sign or identity.sign)


@given(rows_of())
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(rows):
    data = signed(told(rows))
    read = read_summary(data, SCHEMA, network=NETWORK)
    assert read.summary == told(rows)
    assert (read.key, read.sequence) == (public_key_of(IDENTITY.peer_id), 7)
    assert place_of(data).sequence == 7


GOOD = signed(told([row(age=str(40 + n), dose=f"{n}.5") for n in range(9)]))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_byte_changed_cut_or_added_is_refused(data):
    place = data.draw(st.integers(0, len(GOOD) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(GOOD)
    changed[place] ^= flip
    for hostile in (bytes(changed), GOOD[:place], GOOD + bytes([flip])):
        with pytest.raises(MalformedStatement):
            read_summary(hostile, SCHEMA, network=NETWORK)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_summary_or_a_named_error(data):
    with pytest.raises(MalformedStatement):
        read_summary(data, SCHEMA, network=NETWORK)


def test_a_summary_signed_by_another_is_refused():
    with pytest.raises(MalformedStatement, match="not signed by its member"):
        read_summary(signed(told([row()] * 9), sign=Identity.generate().sign), SCHEMA, network=NETWORK)


def test_a_summary_of_another_network_or_schema_is_refused():
    other = TableSchema.model_validate({**SCHEMA.model_dump(), "least_rows": 4})
    for data in (signed(told([row()] * 9), network=bytes(32)), signed(told([row()] * 9), schema=other)):
        with pytest.raises(MalformedStatement, match="another schema or another network"):
            read_summary(data, SCHEMA, network=NETWORK)


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (Summary(rows=2**63, columns=told([row()] * 9).columns), "too many rows"),
        (
            Summary(
                rows=9,
                columns=(
                    NumberSummary(present=9, total=9 * 10**12),
                    CategorySummary(rows={}),
                    NumberSummary(),
                ),
            ),
            "negative variance",
        ),
        (
            Summary(
                rows=2**39,
                columns=(
                    NumberSummary(present=2**39, total=2**39 * 10**15, squares=2**39 * 10**30),
                    CategorySummary(rows={}),
                    NumberSummary(),
                ),
            ),
            "its range rules out",
        ),
    ],
)
def test_a_signature_makes_no_impossible_sums_possible(summary, reason):
    with pytest.raises(MalformedStatement, match=reason):
        read_summary(signed(summary), SCHEMA, network=NETWORK)


def test_a_million_categories_cost_nothing():
    """A count is one byte, and what is longer than 64 KiB is refused before it is read."""
    with pytest.raises(MalformedStatement, match="wrong length"):
        read_summary(GOOD + bytes(10**6), SCHEMA, network=NETWORK)
    many = bytearray(GOOD)
    place = bytes(GOOD).index(b"\x01\x01a") if b"\x01\x01a" in GOOD else -1
    assert place > 0
    many[place] = 255
    with pytest.raises(MalformedStatement, match="too many categories"):
        read_summary(bytes(many), SCHEMA, network=NETWORK)


def test_a_table_with_too_much_to_tell_is_named():
    columns = {f"{place}": {"kind": "category"} for place in range(200)}
    schema = TableSchema(name="wide", label="ill > 0", columns=columns)
    names = {f"{name:064d}": 10 for name in range(64)}
    summary = Summary(rows=640, columns=tuple(CategorySummary(rows=names) for _ in columns))
    with pytest.raises(MalformedStatement, match=f"too long; expected at most {MOST_SUMMARY_BYTES}"):
        signed(summary, schema=schema)
