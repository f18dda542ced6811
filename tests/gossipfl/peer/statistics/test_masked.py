"""Masked statistics: the sums that everybody tells openly otherwise, and no message that shows a single one."""

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from gossipfl.errors import MalformedStatement, SettingError, SummandsExposed
from gossipfl.network import Identity, load_or_create_identity
from gossipfl.peer.statistics.collection import Record, Summaries
from gossipfl.peer.statistics.masked import MaskedSummaries
from gossipfl.peer.statistics.phase import is_complete_with
from gossipfl.statistics import TableSchema, merged
from gossipfl.statistics.vectors import names_of, summary_of, vector_of
from gossipfl.wire.masked_summaries import MaskedStatement, read_masked_summary, write_masked_summary
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.statistics.masked_sets import NETWORK, masked_sets, spread
from tests.gossipfl.peer.statistics.test_gathering import gathered, gathering_first, made, rows_for
from tests.gossipfl.statistics.tables import SCHEMA, SCHEMA_TEXT, row, rows_of, told
from tests.gossipfl.wire.test_summaries import signed

PLAIN_TEXT = SCHEMA_TEXT.replace(", extremes = true", "")
WITHOUT_EXTREMES = {name: {**each.model_dump(), "extremes": False} for name, each in SCHEMA.columns.items()}
SUMS = TableSchema(name="patients", label="ill > 0", least_rows=3, columns=WITHOUT_EXTREMES)


def sets_of(tables, *, identities=None):
    """Each member's set, before anybody told anything."""
    identities = identities or [Identity.generate() for _ in tables]
    owns = [told(table, SUMS) for table in tables]
    return masked_sets(MaskedSummaries, SUMS, identities, owns)


TABLES = [
    [row(age=str(30 + 7 * n + k), ward="abc"[n % 3], dose=f"{n}.5") for k in range(5 + n)] for n in range(4)
]


@settings(max_examples=15, deadline=None)
@given(st.lists(rows_of(), min_size=4, max_size=6), st.integers(0, 99))
def test_the_sums_are_those_of_plain_summaries(tables, seed):
    sets = sets_of(tables)
    spread(sets, seed=seed)
    expected = merged((told(table, SUMS) for table in tables), SUMS)
    for each in sets:
        common = each.common()
        assert common.total == expected
        assert common.digest == sets[0].common().digest
        assert len(common.members) == len(tables)


@settings(max_examples=25, deadline=None)
@given(rows_of())
def test_a_vector_is_a_summary(rows):
    summary = told(rows, SUMS)
    names = names_of(summary)
    assert summary_of(vector_of(summary, names), names, SUMS) == summary
    with pytest.raises(MalformedStatement, match="wrong length"):
        summary_of([*vector_of(summary, names), 0], names, SUMS)


def test_no_statement_shows_a_members_sums():
    sets = sets_of(TABLES)
    said = spread(sets)
    everything = b"\n".join(said)
    for table in TABLES:
        for number in vector_of(told(table, SUMS), names_of(told(table, SUMS))):
            if number.bit_length() > 32:  # smaller ones are in any bytes
                assert number.to_bytes((number.bit_length() + 7) // 8, "little") not in everything
    masked = [read_masked_summary(data, SUMS, network=NETWORK).masked for data in said]
    values = [each.to_bytes(32, "little") for vector in masked for each in vector]
    assert len(values) >= 40
    assert chisquare(np.bincount(np.frombuffer(b"".join(values), np.uint8), minlength=256)).pvalue > 1e-4
    plain = signed(told(TABLES[0], SUMS), schema=SUMS, network=NETWORK)
    assert told(TABLES[0], SUMS).columns[0].total.to_bytes(32, "little") in plain  # as the test would see it


def test_a_member_that_starts_again_makes_all_mask_anew():
    identities = [Identity.generate() for _ in TABLES]
    sets = sets_of(TABLES, identities=identities)
    spread(sets)
    before = sets[0].session, sets[0]._statement(identities[1].public_key).masked
    again = sets_of(TABLES, identities=identities)[0]
    again.add(Record(again.statement(100), b""))
    sets[1].add(*again.beyond(()))
    assert sets[1].session != before[0]
    assert sets[1].is_outdated
    assert not sets[1].members
    sequence = 200
    group = [again, *sets[1:]]
    for _ in range(4):
        for one in group:
            for other in group:
                for record in other.beyond(one.places):
                    one.add(record)
            if one.is_outdated:
                sequence += 1
                one.add(Record(one.statement(sequence), b""))
    expected = merged((told(table, SUMS) for table in TABLES), SUMS)
    assert {each.common().digest for each in group} == {group[0].common().digest}
    assert group[0].common().total == expected
    assert not set(group[0]._statement(identities[1].public_key).masked) & set(before[1])


def test_sums_that_no_tables_have_are_refused():
    sets = sets_of(TABLES)
    spread(sets)
    liar = sets[0]._statement(sets[0]._roster[0])
    lying = MaskedStatement(
        key=liar.key,
        network=NETWORK,
        sequence=99,
        public=liar.public,
        names=liar.names,
        session=liar.session,
        masked=(liar.masked[0] + 2**80, *liar.masked[1:]),
    )
    sign = next(each._sign for each in sets if each._key == liar.key)
    sets[0].add(Record(write_masked_summary(lying, SUMS, sign=sign), b""))
    with pytest.raises(MalformedStatement, match="too many rows"):
        sets[0].common()


def test_few_members_and_extremes_are_refused_by_name():
    with pytest.raises(SummandsExposed, match="3 or more others"):
        sets_of(TABLES[:3])
    with pytest.raises(SettingError, match="column 'dose' has extremes"):
        MaskedSummaries(
            SCHEMA,
            NETWORK,
            own=told([], SCHEMA),
            key=b"k" * 32,
            roster=[bytes([n]) * 32 for n in range(4)],
            sign=bytes,
            admit=lambda key, certificate: None,
        )


def test_masked_and_plain_sets_do_not_mix():
    plain = Summaries(SUMS, NETWORK, admit=lambda key, certificate: None)
    masked = sets_of(TABLES)[0]
    assert plain.digest != masked.digest
    with pytest.raises(MalformedStatement):
        plain.add(Record(masked.statement(1), b""))
    with pytest.raises(MalformedStatement):
        masked_of_one = sets_of(TABLES, identities=[Identity.generate() for _ in TABLES])[0]
        masked_of_one._admit = lambda key, certificate: None
        masked_of_one.add(Record(signed(told(TABLES[0], SUMS), schema=SUMS, network=NETWORK), b""))


STATEMENT = sets_of(TABLES)[0].statement(1)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 600))
def test_any_bytes_are_a_statement_or_refused_by_name(noise, place):
    for each in (noise, STATEMENT[:place] + noise + STATEMENT[place + len(noise) :]):
        try:
            read_masked_summary(each, SUMS, network=NETWORK)
        except MalformedStatement:
            continue


@in_trio
async def test_four_members_gather_masked_sums_over_the_network(tmp_path):
    hub = made(tmp_path, "0", rows_for(0), schema=PLAIN_TEXT)
    found = []
    ids = [load_or_create_identity(hub.directory).peer_id]
    with trio.fail_after(90):
        homes = []
        for number in (1, 2, 3):
            homes.append(made(tmp_path, str(number), rows_for(number), schema=PLAIN_TEXT))
            ids.append(load_or_create_identity(homes[-1].directory).peer_id)
        everyone = {"is_complete": is_complete_with(4, ids), "roster": ids, "masked": True}
        async with (
            gathering_first(hub, **everyone) as (address, _, results),
            trio.open_nursery() as nursery,
        ):

            async def one(home):
                found.append(await gathered(home, bootstrap=[address], **everyone))

            for home in homes:
                nursery.start_soon(one, home)
    pooled = [each for number in range(4) for each in rows_for(number)]
    for common in [*results, *found]:
        assert common.digest == results[0].digest
        assert common.total.rows == len(pooled)
        assert common.total.columns[0].total == sum(int(each["age"]) for each in pooled) * 10**12
        assert set(common.members.values()) == {0}
