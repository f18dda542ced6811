import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import ReplayedMessage, SettingError
from gossipfl.wire import ReplayGuard

sent = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 5)), max_size=60)


@given(sent)
def test_of_each_sender_exactly_the_new_maxima_are_admitted(messages):
    guard, newest = ReplayGuard(), {}
    for sender, incarnation, sequence in messages:
        last = newest.get(sender, (-1, -1))
        if (incarnation, sequence) >= last:
            is_new = guard.admit(sender, incarnation=incarnation, sequence=sequence)
            assert is_new == ((incarnation, sequence) > last)
            newest[sender] = (incarnation, sequence)
        else:
            with pytest.raises(ReplayedMessage):
                guard.admit(sender, incarnation=incarnation, sequence=sequence)


def test_a_restarted_sender_is_heard_and_its_former_life_is_not():
    guard = ReplayGuard()
    guard.admit("a", incarnation=1, sequence=900)
    guard.admit("a", incarnation=2, sequence=0)
    with pytest.raises(ReplayedMessage, match=r"incarnation 2 from sequence 0.*incarnation 1, sequence 901"):
        guard.admit("a", incarnation=1, sequence=901)


def test_checking_remembers_nothing():
    guard = ReplayGuard()
    assert guard.check("a", incarnation=1, sequence=1)
    assert len(guard) == 0
    guard.admit("a", incarnation=1, sequence=1)
    assert not guard.check("a", incarnation=1, sequence=1)
    assert (guard.newest("a"), guard.newest("b")) == ((1, 1), None)
    with pytest.raises(ReplayedMessage, match="overtaken or duplicated"):
        guard.check("a", incarnation=1, sequence=0)


def test_memory_is_bounded_and_the_longest_silent_sender_is_forgotten():
    guard = ReplayGuard(senders=3)
    for sender in "abc":
        guard.admit(sender, incarnation=1, sequence=1)
    guard.admit("a", incarnation=1, sequence=2)
    guard.admit("d", incarnation=1, sequence=1)
    assert len(guard) == 3
    guard.check("b", incarnation=1, sequence=1)
    for sender in "acd":
        with pytest.raises(ReplayedMessage):
            guard.check(sender, incarnation=1, sequence=0)


def test_a_guard_of_nobody_is_refused():
    with pytest.raises(SettingError):
        ReplayGuard(senders=0)
