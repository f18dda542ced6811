"""Sets of summaries: the same everywhere in whatever order they are told, with one newest summary a member."""

import random

import pytest

from gossipfl.errors import MalformedStatement, NotAllowed
from gossipfl.network import Identity
from gossipfl.peer.statistics import collection
from gossipfl.peer.statistics.collection import Record, Summaries, read_places
from gossipfl.wire.summaries import PLACE_BYTES
from tests.gossipfl.statistics.tables import SCHEMA, row, told
from tests.gossipfl.wire.test_summaries import NETWORK, signed

MEMBERS = [Identity.generate() for _ in range(6)]


def record(number, *, rows=9, sequence=7):
    summary = told([row(age=str(20 + number))] * rows)
    return Record(signed(summary, identity=MEMBERS[number], sequence=sequence), b"")


def summaries(*records, admit=lambda key, certificate: None):
    made = Summaries(SCHEMA, NETWORK, admit=admit)
    for each in records:
        made.add(each)
    return made


def gossiped(nodes, *, draw, rounds):
    for _ in range(rounds):
        for one in nodes:
            other = draw.choice(nodes)
            theirs, own = other.places, one.places
            for each in one.beyond(theirs):
                other.add(each)
            for each in other.beyond(own):
                one.add(each)


@pytest.mark.parametrize("seed", range(5))
def test_everybody_ends_with_the_same_digest(seed):
    draw = random.Random(seed)
    nodes = [summaries(record(number, rows=5 + number)) for number in range(6)]
    gossiped(nodes, draw=draw, rounds=8)
    assert len({node.common().digest for node in nodes}) == 1
    assert nodes[0].common().total.rows == sum(range(5, 11))


def test_the_newest_summary_of_a_member_counts_and_an_old_one_is_no_news():
    made = summaries(record(0, sequence=7))
    assert made.add(record(0, rows=12, sequence=8))
    assert not made.add(record(0, sequence=7))  # replayed
    assert list(made.members.values()) == [12]


def test_two_summaries_with_one_number_end_alike_everywhere():
    one, other = record(0, rows=5), record(0, rows=6)
    assert summaries(one, other).common().digest == summaries(other, one).common().digest


def test_summaries_of_others_than_members_do_not_count():
    def admit(key, certificate):
        if certificate != b"member":
            raise NotAllowed("no member")

    made = summaries(record(0), Record(record(1).data, b"member"), admit=admit)
    assert list(made.members) == [MEMBERS[1].peer_id]


def test_a_summary_in_anothers_name_changes_nothing():
    made = summaries(record(0))
    forged = bytearray(record(0, rows=500, sequence=9).data)
    forged[-1] ^= 1
    with pytest.raises(MalformedStatement, match="not signed by its member"):
        made.add(Record(bytes(forged), b""))
    assert list(made.members.values()) == [9]


def test_the_number_of_members_is_bounded_and_alike_everywhere(monkeypatch):
    monkeypatch.setattr(collection, "MOST_MEMBERS", 3)
    orders = [range(6), reversed(range(6)), [3, 1, 5, 0, 4, 2]]
    kept = [list(summaries(*(record(number) for number in order)).members) for order in orders]
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 3


def test_a_list_that_names_a_member_twice_is_refused():
    place = summaries(record(0)).places[0].to_bytes()
    with pytest.raises(MalformedStatement, match="twice"):
        read_places(place + place, PLACE_BYTES)
