"""Masked contributions: the sums over all members' measured merges, and nothing that shows a single member's."""

import json
import random
from collections import defaultdict
from itertools import chain

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gossipfl.cli.main import _app as app
from gossipfl.errors import HomeError, MalformedStatement, SettingError, SummandsExposed
from gossipfl.network import Identity, load_or_create_identity
from gossipfl.peer.statistics.collection import Record
from gossipfl.peer.statistics.contributions import (
    MaskedContributions,
    contributions_in,
    merges_schema,
    merges_summary,
)
from gossipfl.peer.statistics.phase import gather_contributions
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.recorded_effects import recorded_effects
from gossipfl.settings import load_settings, parse_settings
from gossipfl.statistics.vectors import names_of, vector_of
from gossipfl.wire.masked_summaries import MaskedStatement, write_masked_summary
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.statistics.masked_sets import NETWORK, masked_sets, spread

MEMBERS = [Identity.generate() for _ in range(6)]


def sets_of(effects, *, identities=None):
    """Each member's set; effects are those that each member measured, by place of the sender."""
    identities = identities or MEMBERS[: len(effects)]
    ids = [each.peer_id for each in identities]
    schema = merges_schema(ids)
    owns = [
        merges_summary({ids[sender]: told for sender, told in own.items()}, schema, own=identity.peer_id)
        for identity, own in zip(identities, effects, strict=True)
    ]
    return masked_sets(MaskedContributions, schema, identities, owns)


effects_of_one = st.dictionaries(
    st.integers(0, 4), st.lists(st.floats(-9, 9), min_size=1, max_size=4), max_size=5
)


@settings(max_examples=25, deadline=None)
@given(st.lists(effects_of_one, min_size=5, max_size=5), st.integers(0, 99))
def test_sums_are_those_of_members_that_three_others_measured(effects, seed):
    sets = sets_of(effects)
    spread(sets, seed=seed)
    told = defaultdict(list)
    for member, own in enumerate(effects):
        for sender, each in own.items():
            if sender != member and len(each) >= 2:
                told[sender].append(each)
    enough = {sender: list(chain.from_iterable(each)) for sender, each in told.items() if len(each) >= 3}
    if not enough:
        for each in sets:
            with pytest.raises(SummandsExposed, match="no member's models were measured by enough others"):
                each.common()
        return
    for each in sets:
        found = contributions_in(each.common())
        assert {name for name, one in found.items() if one.merges} == {
            MEMBERS[sender].peer_id for sender in enough
        }
        for sender, values in enough.items():
            one = found[MEMBERS[sender].peer_id]
            assert one.merges == len(values)
            assert one.total == pytest.approx(sum(values), abs=1e-10)
            assert one.mean == pytest.approx(sum(values) / len(values), abs=1e-10)
        assert each.common().digest == sets[0].common().digest


EFFECTS = [
    {sender: [0.125 * (member + 1) + 2.0**sender, 0.5, -0.25] for sender in range(5) if sender != member}
    for member in range(5)
]


def test_no_statement_shows_a_members_effects():
    sets = sets_of(EFFECTS)
    said = spread(sets)
    everything = b"\n".join(said)
    for each in sets:
        for number in vector_of(each._own, names_of(each._own)):
            if number.bit_length() > 32:  # smaller ones are in any bytes
                assert number.to_bytes((number.bit_length() + 7) // 8, "little") not in everything


def test_a_member_that_only_two_measured_is_left_out_by_them_too():
    effects = [dict(own) for own in EFFECTS]
    for member in (0, 1):  # of four others, two measured the last one
        del effects[member][4]
    sets = sets_of(effects)
    spread(sets)
    found = contributions_in(sets[0].common())
    assert found[MEMBERS[4].peer_id].merges == 0
    assert found[MEMBERS[3].peer_id].merges == 12
    place = 2 + 3 * sorted(each.peer_id for each in MEMBERS[:5]).index(MEMBERS[4].peer_id)
    assert len(sets[2]._vector(sets[2]._names())) > place
    names = sets[2]._names()
    whole, told = vector_of(sets[2]._own, names), sets[2]._vector(names)
    assert sum(a != b for a, b in zip(whole, told, strict=True)) == 5  # rows, one category, three sums


def test_a_member_cannot_count_itself_among_those_that_measured_it():
    effects = [dict(own) for own in EFFECTS]
    for member in (0, 1):
        del effects[member][4]
    sets = sets_of(effects)
    liar = sets[4]
    names = ((*sorted([*names_of(liar._own)[0], MEMBERS[4].peer_id]),), *names_of(liar._own)[1:])
    lie = MaskedStatement(
        key=liar._key,
        network=NETWORK,
        sequence=1,
        public=liar._private.public_key().public_bytes_raw(),
        names=names,
    )
    data = write_masked_summary(lie, liar.schema, sign=liar._sign)
    for each in sets:
        each.add(Record(data, b""))
    for which in range(4):
        record = Record(sets[which].statement(1), b"")
        for each in sets:
            each.add(record)
    assert sets[2].session is not None
    columns = dict(zip(liar.schema.columns, sets[2]._own.columns, strict=True))
    assert columns[MEMBERS[4].peer_id].total in vector_of(sets[2]._own, sets[2]._names())
    assert columns[MEMBERS[4].peer_id].total not in sets[2]._vector(sets[2]._names())


def test_a_lie_that_no_merges_have_is_refused():
    sets = sets_of(EFFECTS)
    spread(sets)
    liar = sets[0]._statement(sets[0]._roster[0])
    lying = MaskedStatement(
        key=liar.key,
        network=NETWORK,
        sequence=99,
        public=liar.public,
        names=liar.names,
        session=liar.session,
        masked=(*liar.masked[:-1], liar.masked[-1] - 2**100),
    )
    sign = next(each._sign for each in sets if each._key == liar.key)
    sets[0].add(Record(write_masked_summary(lying, sets[0].schema, sign=sign), b""))
    with pytest.raises(MalformedStatement):
        sets[0].common()


def test_too_few_and_too_many_members_are_refused_by_name():
    with pytest.raises(SummandsExposed, match="3 or more others"):
        merges_schema([each.peer_id for each in MEMBERS[:3]])
    with pytest.raises(SettingError, match="at most 64 members"):
        merges_schema([f"member {number}" for number in range(65)])
    assert len(merges_schema([f"member {number}" for number in range(50)]).columns) == 51


def test_effects_are_read_from_records(tmp_path):
    ids = [each.peer_id for each in MEMBERS]
    rounds = {"settings": json.dumps({"rounds": {"algorithm": "d_psgd", "roster": ids}})}
    gossip = {"settings": json.dumps({"rounds": {}})}
    write(tmp_path / "000001.jsonl", {"kind": "start", **gossip}, merge(ids[1], 0.5), merge(ids[1], None))
    write(
        tmp_path / "000001.0001.jsonl", {"kind": "continued", **gossip}, {"kind": "merge", "sender": ids[2]}
    )
    mix = {"kind": "mix", "members": [1, 3], "effects": [0.25, None]}
    write(tmp_path / "000002.jsonl", {"kind": "start", **rounds}, mix, {"kind": "mix", "members": [2]})
    with (tmp_path / "000002.jsonl").open("a") as file:
        file.write('{"kind": "merge", "sen')  # torn
    assert recorded_effects(tmp_path) == {ids[1]: [0.5, 0.25]}
    write(tmp_path / "000003.jsonl", {"nothing": 1})
    with pytest.raises(HomeError, match=r"000003\.jsonl are damaged"):
        recorded_effects(tmp_path)


def write(file, *records):
    file.write_text("".join(json.dumps(each) + "\n" for each in records))


def merge(sender, effect):
    return {"kind": "merge", "sender": sender, "effect": effect}


def homes_with(tmp_path, effects):
    """Homes of peers whose records hold these effects, and their peer ids."""
    homes = [Home(tmp_path / str(member)) for member in range(len(effects))]
    for home in homes:
        home.create(parse_settings({"task": {"name": "digits"}}, source="a test"))
    ids = [load_or_create_identity(home.directory).peer_id for home in homes]
    for home, own in zip(homes, effects, strict=True):
        merges = [merge(ids[sender], each) for sender, told in own.items() for each in told]
        random.Random(0).shuffle(merges)
        write(home.records / "000001.jsonl", {"kind": "start", "settings": '{"rounds": {}}'}, *merges)
    return homes, ids


@in_trio
async def test_members_add_up_contributions_over_the_network(tmp_path):
    effects = [{sender: own[sender] for sender in own if sender < 4} for own in EFFECTS[:4]]
    homes, ids = homes_with(tmp_path, effects)
    lines, found = [], []

    async def one(home, bootstrap):
        read = load_settings(home.settings)
        network = read.network.model_copy(update={"bootstrap": bootstrap})
        read = read.model_copy(update={"network": network})
        found.append(await gather_contributions(home, read, roster=ids, report=lines.append))

    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, homes[0], [])
            while not (there := [line for line in lines if line.startswith("listening at ")]):
                await trio.sleep(0.02)
            for home in homes[1:]:
                nursery.start_soon(one, home, [there[0].removeprefix("listening at ")])
    assert {each.digest for each in found} == {found[0].digest}
    sums = contributions_in(found[0])
    for sender in range(4):
        values = [each for own in effects for each in own.get(sender, [])]
        assert sums[ids[sender]].merges == len(values) == 9
        assert sums[ids[sender]].mean == pytest.approx(sum(values) / 9)
    assert json.loads(homes[2].contributions.read_text())["digest"] == found[0].digest
    shown = CliRunner().invoke(app, ["stats", "show", str(homes[2].contributions)])
    assert f"digest {found[0].digest}" in shown.output


def test_the_command_shows_what_would_leave_and_names_mistakes(tmp_path):
    effects = [{sender: own[sender] for sender in own if sender < 4} for own in EFFECTS[:4]]
    homes, ids = homes_with(tmp_path, effects)
    command = ["stats", "contributions", "--home", str(homes[0].directory)]
    run = CliRunner().invoke
    members = [word for each in ids for word in ("--member", each)]
    columns = json.loads(run(app, [*command, *members, "--dry-run", "--json"]).output)["columns"]
    assert columns[ids[0]]["present"] == 0
    assert columns[ids[1]] == {"present": 3, "sum": "2.375", "squares": "4.828125"}
    assert columns["sender"]["categories"] == dict.fromkeys(sorted(ids[1:]), 3)
    assert isinstance(run(app, [*command, *members[:6]]).exception, SummandsExposed)
    assert "say who all members are" in run(app, command).output
