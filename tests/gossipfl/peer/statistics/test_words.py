"""Words agreed on under masks: the same vocabulary at all members, nothing of one member's, and an end to lies."""

import json
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from typer.testing import CliRunner

from gossipfl.cli.main import _app as app
from gossipfl.errors import MalformedStatement, StatisticsMissing
from gossipfl.network import Identity, load_or_create_identity
from gossipfl.peer.statistics.collection import Record
from gossipfl.peer.statistics.word_phase import agree_on_words
from gossipfl.peer.statistics.words import MaskedWords
from gossipfl.peer.store.home import Home
from gossipfl.privacy.gaussian import smallest_epsilon
from gossipfl.privacy.ledger import BudgetSpent, PrivacyLedger
from gossipfl.settings import load_settings, parse_settings
from gossipfl.tasks import find_task
from gossipfl.tasks.words.hitters import Offer, WordPlan, agreed, offer_of
from gossipfl.tasks.words.vocabulary import Vocabulary
from gossipfl.wire.masked_counts import CountsStatement, MaskedCounts, read_masked_counts, write_masked_counts
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.statistics.masked_sets import NETWORK, admits, spread

pytest.importorskip("wordfreq")

MEMBERS = [Identity.generate() for _ in range(6)]
OPTIONS = {"words": 205, "room": 40, "offered": 2, "own": 1, "rounds": 5, "least": 3, "epsilon": 900.0}
PLAN = WordPlan(members=6, **OPTIONS)
COMMON, OTHER = PLAN.candidates[10], PLAN.candidates[20]
OFFERS = [Offer((COMMON, OTHER) if n < 2 else (COMMON,), ("hath" if n else "zorp",)) for n in range(6)]


def normals(seed=0):
    generator = np.random.default_rng(seed)
    return lambda members, counts: generator.standard_normal((members, counts))


def sets_of(offers, *, plan=PLAN, spend=lambda: None):
    keys = [each.public_key for each in MEMBERS]
    return [
        MaskedWords(
            plan,
            NETWORK,
            offer=offer,
            key=identity.public_key,
            roster=keys,
            sign=identity.sign,
            admit=admits(keys),
            spend=spend,
            normals=normals(place),
        )
        for place, (identity, offer) in enumerate(zip(MEMBERS, offers, strict=True))
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_members_find_the_words_of_a_run_of_all_at_once(seed):
    spent = []
    sets = sets_of(OFFERS, spend=lambda: spent.append(1))
    assert not sets[0].members
    spread(sets, seed=seed)
    assert len(spent) == 6
    for each in sets:
        assert each.words.result() == sets[0].words.result()
        assert each.words.found == sets[0].words.found
        assert len(each.members) == 6
    assert set(sets[0].words.found) == set(agreed(OFFERS, PLAN, normals(9)).found) == {COMMON, "hath"}
    assert PLAN.threshold > 3


def test_no_statement_shows_a_members_counts():
    sets = sets_of(OFFERS)
    statements = spread(sets)
    assert max(map(len, statements)) < 65_535
    said = [read_masked_counts(each, plan=sets[0].digest, network=NETWORK) for each in statements]
    assert {each.round for each in said} == {0, 1, 2, 3}
    rows = {counts.row.tobytes() for each in said for counts in each.counts}  # most are told twice
    assert len(rows) == 6 * 3
    assert chisquare(np.bincount(np.frombuffer(b"".join(rows), np.uint8), minlength=256)).pvalue > 1e-4
    first = [each.of_round(1).row.tobytes() for each in said if each.of_round(1) is not None]
    assert len(set(first)) == 6  # each told once or twice, and never masked anew


def test_a_member_that_starts_again_ends_the_run_and_no_counts_are_masked_anew():
    sets, again = sets_of(OFFERS), sets_of(OFFERS)[0]
    told = sets[1]
    for record in [Record(each.statement(1), b"") for each in sets]:
        told.add(record)
    assert told.is_outdated
    before = told.statement(2)
    told.add(Record(before, b""))
    told.add(Record(again.statement(99), b""))
    with pytest.raises(StatisticsMissing, match="started again after counts were told"):
        _ = told.members
    assert not told.is_outdated
    counts = [
        read_masked_counts(each, plan=told.digest, network=NETWORK) for each in (before, told.statement(3))
    ]
    assert counts[0].counts[0].row.tobytes() == counts[1].counts[0].row.tobytes()


def lie_of(sets, liar, change):
    """A statement of a member whose last counts were changed, signed by it."""
    member = next(place for place, each in enumerate(MEMBERS) if each.public_key == liar._key)
    counts = [MaskedCounts(each.session, change(each.row.copy())) for each in liar._told]
    statement = CountsStatement(
        key=liar._key,
        network=NETWORK,
        plan=liar.digest,
        sequence=1000,
        public=liar._own_public(),
        round=liar._now.number,
        counts=tuple(counts),
    )
    return Record(write_masked_counts(statement, sign=MEMBERS[member].sign), b"")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row + np.uint32(2**31), "no members have the counts of round 1"),
        (lambda row: row[:-1], "counts of something else than round 1"),
    ],
)
def test_a_lie_that_nobody_can_have_counted_ends_the_run_by_name(change, said):
    sets = sets_of(OFFERS)
    records = [Record(each.statement(1), b"") for each in sets]
    for each in sets:
        for record in records:
            each.add(record)
    honest = sets[0]
    honest.add(Record(honest.statement(2), b""))
    for each in sets[1:-1]:
        honest.add(Record(each.statement(2), b""))
    assert not honest.members
    honest.add(lie_of(sets, sets[-1], change))
    with pytest.raises(MalformedStatement, match=said):
        _ = honest.members


def test_a_budget_that_does_not_allow_it_tells_no_counts():
    def refuse():
        raise BudgetSpent("no")

    sets = sets_of(OFFERS, spend=refuse)
    with suppress(BudgetSpent):
        spread(sets)
    assert all(not each._told for each in sets)


GOOD = sets_of(OFFERS)[0].statement(1)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_byte_changed_cut_or_added_is_refused(data):
    place = data.draw(st.integers(0, len(GOOD) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(GOOD)
    changed[place] ^= flip
    digest = sets_of(OFFERS)[0].digest
    for hostile in (bytes(changed), GOOD[:place], GOOD + bytes([flip]), data.draw(st.binary(max_size=400))):
        with pytest.raises(MalformedStatement):
            read_masked_counts(hostile, plan=digest, network=NETWORK)


def test_counts_of_too_many_and_of_rounds_without_end_are_refused():
    member = MEMBERS[0]
    few = {
        "key": member.public_key,
        "network": NETWORK,
        "plan": bytes(32),
        "sequence": 1,
        "public": bytes(32),
    }
    many = MaskedCounts(bytes(32), np.zeros(8_001, dtype=np.uint32))
    for statement in (
        CountsStatement(**few, round=1, counts=(many,)),
        CountsStatement(
            **few, round=101, counts=(MaskedCounts(bytes(32), np.zeros(1, dtype=np.uint32)),) * 2
        ),
    ):
        data = write_masked_counts(statement, sign=member.sign)
        with pytest.raises(MalformedStatement):
            read_masked_counts(data, plan=bytes(32), network=NETWORK)
    with pytest.raises(MalformedStatement, match="too long"):
        write_masked_counts(CountsStatement(**few, round=2, counts=(many,) * 3), sign=member.sign)


TEXTS = [
    f"{COMMON} hath {COMMON} hath. {OTHER if n < 2 else 'the'} and {OTHER if n < 2 else 'of'}."
    for n in range(6)
]
OF_TASK = {"vocabulary": "en", "words": 205, "size": "tiny"}


def made(tmp_path, number, **tables):
    text = tmp_path / f"{number}.txt"
    text.write_text(TEXTS[number])
    home = Home(tmp_path / f"home{number}")
    task = {"name": "next-word", "options": {"text": str(text), "user": str(number), **OF_TASK}}
    home.create(parse_settings({"task": task, **tables}, source="a test"))
    return home


@in_trio
async def test_six_members_agree_over_the_network(tmp_path):
    homes = [made(tmp_path, number) for number in range(6)]
    ids = [load_or_create_identity(home.directory).peer_id for home in homes]
    uses = [dict.fromkeys((COMMON, "hath"), 2) | ({OTHER: 2} if n < 2 else {}) for n in range(6)]
    lines, found = [], []

    async def one(number, bootstrap):
        read = load_settings(homes[number].settings)
        network = read.network.model_copy(update={"bootstrap": bootstrap})
        read = read.model_copy(update={"network": network})
        offer = offer_of(uses[number], PLAN)
        found.append(
            await agree_on_words(homes[number], read, plan=PLAN, offer=offer, roster=ids, report=lines.append)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0, [])
        while not (there := [line for line in lines if line.startswith("listening at ")]):
            await trio.sleep(0.02)
        for number in range(1, 6):
            nursery.start_soon(partial(one, number, [there[0].removeprefix("listening at ")]))
    assert len(found) == 6
    assert {tuple(each.counts) for each in found} == {tuple(found[0].counts)}
    assert set(found[0].counts) == {COMMON, "hath"}
    files = {home.vocabulary.read_bytes() for home in homes}
    assert len(files) == 1
    read = Vocabulary.read(homes[0].vocabulary, size=205)
    assert read.digest == found[3].vocabulary.digest
    assert {COMMON, "hath"} <= set(read.words)
    options = {"text": str(tmp_path / "0.txt"), "user": "0", "vocabulary": str(homes[0].vocabulary)}
    assert read.digest[:16] in find_task("next-word", {**options, "words": 205, "size": "tiny"}).name
    ledger = PrivacyLedger(homes[2].privacy_ledger, epsilon=None, delta=PLAN.delta)
    assert ledger.releases == 1
    assert ledger.spent**0.5 == pytest.approx(PLAN.shift)
    assert found[0].epsilon == pytest.approx(smallest_epsilon(PLAN.shift, PLAN.delta))
    assert found[0].epsilon == pytest.approx(900, rel=1e-6)


def run(*arguments):
    return CliRunner().invoke(app, ["stats", "words", *map(str, arguments)])


def test_the_command_shows_its_owner_what_would_be_counted_and_tells_nobody(tmp_path):
    home = made(tmp_path, 0, keyboard={"enabled": True})
    others = [argument for each in MEMBERS[:5] for argument in ("--member", each.peer_id)]
    few = ["--offered", 2, "--own", 1, "--rounds", 5, "--epsilon", 900, "--room", 40]
    shown = run("--home", home.directory, *others, *few, "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout.splitlines()[-1])
    assert said == {"listed": sorted([COMMON, OTHER]), "own": ["hath"]}
    assert not PrivacyLedger(home.privacy_ledger, epsilon=None, delta=0.1).releases
    refused = run("--home", home.directory, *others, "--dry-run")
    assert "no word could be found" in str(refused.exception)
    assert "--member" in run("--home", home.directory).output


def test_a_spent_budget_is_refused_before_anybody_is_met(tmp_path):
    noise = [{"kind": "clip", "norm": 1.0}, {"kind": "noise", "deviation": 1.0, "epsilon": 3.0}]
    home = made(tmp_path, 0, outgoing=noise)
    others = [argument for each in MEMBERS[:5] for argument in ("--member", each.peer_id)]
    few = ["--offered", 2, "--own", 1, "--rounds", 5, "--epsilon", 900, "--room", 40]
    refused = run("--home", home.directory, *others, *few, "--dry-run")
    assert isinstance(refused.exception, BudgetSpent)
    assert "Agree on words before anything else is shared" in str(refused.exception)
