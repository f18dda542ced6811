"""Bounded mappings keep the entries that were written most recently."""

from hypothesis import given
from hypothesis import strategies as st

from gossipfl.recent import RecentMap


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers()), max_size=40))
def test_the_entries_written_last_are_kept_in_the_order_of_writing(most, writes):
    recent = RecentMap(most)
    expected = []  # of pairs, a key's newest writing only
    for key, value in writes:
        recent[key] = value
        recent.get("a")  # reading changes nothing
        expected = [each for each in expected if each[0] != key]
        expected = [*expected, (key, value)][-most:]
        assert list(recent.items()) == expected
