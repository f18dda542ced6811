"""Codecs chosen by the links to neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import SettingError
from gossipfl.network.link import Link
from gossipfl.peer.gossip.codec_choice import LADDER, ChosenCodecs, affordable
from gossipfl.settings import parse_settings

SIZES = [codec.payload_bytes(1_000_000) for codec in LADDER]
capacities = st.floats(0, 1e8)
places = st.integers(0, len(LADDER) - 1)


def test_each_codec_is_shorter_than_the_one_before():
    assert sorted(SIZES, reverse=True) == SIZES
    assert len(set(SIZES)) == len(SIZES)


@given(capacities, places)
def test_what_is_chosen_fits_or_nothing_shorter_does(capacity, before):
    place = affordable(SIZES, capacity=capacity, before=before)
    assert SIZES[place] <= capacity or place == len(SIZES) - 1
    assert all(SIZES[finer] * (2 if finer < before else 1) > capacity for finer in range(place))


@given(capacities, capacities, places)
def test_a_link_that_carries_more_gets_no_shorter_codec(one, other, before):
    low, high = sorted((one, other))
    assert affordable(SIZES, capacity=high, before=before) <= affordable(SIZES, capacity=low, before=before)


@given(
    st.builds(float.__mul__, st.floats(0.5, 3.0), st.sampled_from(list(map(float, SIZES)))),
    st.lists(st.floats(0.75, 1.45), min_size=2, max_size=30),
    places,
)
def test_a_throughput_that_varies_by_less_than_two_changes_the_codec_in_one_direction_only(
    capacity, factors, place
):
    found = []
    for factor in factors:
        place = affordable(SIZES, capacity=capacity * factor, before=place)
        found.append(place)
    assert found in (sorted(found), sorted(found, reverse=True))


def codecs_of(carried, *, seconds=1.0):
    return ChosenCodecs(numbers=1_000_000, row_seconds=seconds, bytes_per_second=carried.get)


def test_each_neighbour_has_the_codec_of_its_link():
    carried = {"fast": 100e6, "slower": 3e6, "slow": 125e3}
    codecs = codecs_of(carried)
    assert codecs.latest("fast") is None
    assert [codecs.choose(each).name for each in carried] == ["float32", "bfloat16", "int8:256"]
    assert codecs.choose("unmeasured").name == "int8:256"  # as over 8 Mbit/s
    assert codecs.latest("slow") == "int8:256"
    carried["slow"] = 5e6
    assert (
        codecs.choose("slow").name == "bfloat16"
    )  # which would keep up with half of it, and float32 would not
    codecs.row_seconds = 10.0
    assert codecs.choose("slow").name == "float32"


def test_a_link_carries_to_a_peer_what_its_narrowest_part_does():
    link = Link()
    assert link.upload_to("P") is None
    link.path("P").download.note(3_000_000, 1.0)
    assert link.upload_to("P") == 3_000_000
    link.path("P").upload.note(500_000, 1.0)
    assert link.upload_to("P") == 500_000
    link.upload._throughput.note(200_000, 1.0)
    assert link.upload_to("P") == link.upload_to("Q") == 200_000


def test_rounds_have_one_codec():
    tables = {"exchange": {"codec": "auto"}}
    assert parse_settings(tables, source="here").codec == "auto"
    with pytest.raises(SettingError, match="in rounds all members have the same"):
        parse_settings({**tables, "rounds": {"algorithm": "d_psgd"}}, source="here")
    table = {"outgoing": [{"kind": "codec", "name": "int8"}], "exchange": {"codec": "auto"}}
    with pytest.raises(SettingError, match="the codec is given twice"):
        parse_settings(table, source="here")
