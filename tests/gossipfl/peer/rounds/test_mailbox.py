"""The mailbox of rounds: rows kept, rows refused by name, and whose word on the round counts."""

from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import PeerBusy, ReplayedMessage, UnexpectedRound
from gossipfl.peer.rounds.mailbox import LATEST_ROUND, Mailbox
from gossipfl.peer.rounds.members import Members
from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.rounds.mixing import Mixing
from gossipfl.rounds.roster import Roster
from gossipfl.rounds.steps import steps_of
from gossipfl.wire import Progress, RoundHeader, RoundMessage
from topology import sequences

AHEAD = 3
TWO_EXCHANGES = (ExchangeForm(4, None, "neighbours"), ExchangeForm(2, None, "neighbours"))


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def plan(members: int = 8, number: int = 0, sequence=None):
    mixing = Mixing(sequence=sequence or sequences.one_peer_exponential(members))
    return SimpleNamespace(mixing=mixing, number=number, steps=steps_of(TWO_EXCHANGES))


def mailbox(position=(0, 0), *, clock=None, **options) -> Mailbox:
    return Mailbox(plan=plan(**options), ahead=AHEAD, position=position, clock=clock or Clock())


def header(number: int, exchange: int = 0, *, incarnation: int = 1) -> RoundHeader:
    said = {"task": b"", "layout": b"", "agreement": b"", "codec": "float32", "tensors": (), "checksum": 0}
    return RoundHeader(incarnation=incarnation, round=number, exchange=exchange, **said)


def message(number: int, exchange: int = 0, *, value: float = 1.0, incarnation: int = 1) -> RoundMessage:
    size = TWO_EXCHANGES[exchange].size
    head = header(number, exchange, incarnation=incarnation)
    return RoundMessage(header=head, row=torch.full((size,), value))


def sender_in(number: int) -> int:
    """Whom member 0 of eight hears from in a round of the one-peer exponential graph."""
    return (0 - 2 ** (number % 3)) % 8


def test_rows_are_kept_for_their_exchange_and_dropped_after_it():
    box = mailbox()
    for position in ((1, 0), (0, 1), (0, 0)):
        assert box.keep(sender_in(position[0]), message(*position, value=float(sum(position))))
    assert {each: kept.row[0].item() for each, kept in box.rows().items()} == {sender_in(0): 0.0}
    box.advance((0, 1))
    assert box.rows()[sender_in(0)].row.shape == (2,)
    box.advance((1, 0))
    assert list(box.rows()) == [sender_in(1)]
    box.advance((2, 0))
    assert box.rows() == {}
    assert box.late == 0


def test_a_row_whose_exchange_is_over_is_counted_and_dropped():
    box = mailbox(position=(5, 1))
    assert not box.keep(sender_in(5), message(5, 0))
    assert not box.keep(sender_in(1), message(1, 0))
    assert box.late == 2
    assert box.rows() == {}


def test_a_second_row_for_an_exchange_is_a_replay():
    box = mailbox()
    box.keep(sender_in(1), message(1, value=1.0))
    for again in (message(1, value=2.0), message(1, value=2.0, incarnation=2)):
        with pytest.raises(ReplayedMessage):
            box.screen(sender_in(1), again.header)
        with pytest.raises(ReplayedMessage):
            box.keep(sender_in(1), again)
    box.advance((1, 0))
    assert box.rows()[sender_in(1)].row[0] == 1.0


def test_only_a_neighbour_of_the_round_has_a_row_for_this_peer():
    box = mailbox()
    strangers = set(range(1, 8)) - {sender_in(2)}
    for sender in strangers:
        with pytest.raises(UnexpectedRound, match=f"member {sender} has no row"):
            box.screen(sender, header(2))
    box.screen(sender_in(2), header(2))


def test_rows_too_far_ahead_are_not_kept_but_say_where_their_sender_is():
    box = mailbox(position=(10, 0))
    box.screen(sender_in(10 + AHEAD), header(10 + AHEAD))
    with pytest.raises(PeerBusy, match="this peer is in 10"):
        box.screen(sender_in(11 + AHEAD), header(11 + AHEAD))
    assert box.claims[sender_in(11 + AHEAD)].position == (11 + AHEAD, 0)


def test_nobody_looks_for_neighbours_in_a_distant_round():
    """Finding them may take seconds: matchings can depend on hundreds before."""
    box = mailbox(position=(10, 0))
    box.plan.mixing = None
    for number in (11 + AHEAD, 2**40, 5):
        with suppress(PeerBusy):
            box.screen(3, header(number))


@pytest.mark.parametrize("number", [LATEST_ROUND + 1, 2**62])
def test_rounds_that_cannot_be_are_refused(number):
    said = {"task": b"", "agreement": b"", "incarnation": 1, "exchange": 0, "kept": False}
    box = mailbox()
    for head in (header(number), Progress(round=number, **said)):
        with pytest.raises(UnexpectedRound, match="implausibly late"):
            box.screen(3, head)
    assert box.claims == {}


@given(
    st.lists(
        st.tuples(st.integers(1, 7), st.integers(0, 40), st.integers(0, 1), st.integers(1, 3)), max_size=60
    ),
    st.integers(0, 12),
)
def test_memory_is_bounded_whatever_members_send(messages, at):
    box = mailbox(position=(at, 0))
    for sender, number, exchange, incarnation in messages:
        try:
            box.screen(sender, header(number, exchange, incarnation=incarnation))
            box.keep(sender, message(number, exchange, incarnation=incarnation))
        except (UnexpectedRound, ReplayedMessage, PeerBusy):
            continue
    kept = [row for rows in box._kept.values() for row in rows.values()]
    assert len(kept) <= (AHEAD + 1) * len(TWO_EXCHANGES)  # one neighbour a round
    assert all(at <= number <= at + AHEAD for number, _ in box._kept)


def test_who_is_past_an_exchange_has_no_more_rows_for_it():
    box = mailbox(position=(4, 0))
    assert not box.has_passed(3)
    box.note(3, incarnation=1, position=(4, 0))
    assert not box.has_passed(3)
    box.note(3, incarnation=1, position=(4, 1))
    assert box.has_passed(3)
    box.note(3, incarnation=1, position=(2, 0))  # older news
    assert box.has_passed(3)
    box.note(3, incarnation=2, position=(2, 0))  # it was started again
    assert not box.has_passed(3)


@given(st.lists(st.integers(10, 14), min_size=2, max_size=12), st.integers(0, 2**40))
def test_liars_in_the_minority_move_nobody(honest, lie):
    """The lower median of what the others claim lies among the honest claims."""
    box = mailbox(members=40)
    liars = len(honest) - 1
    for sender, number in enumerate([*honest, *[lie] * liars], start=1):
        box.note(sender, incarnation=1, position=(number, 0))
    assert min(honest) <= box.where_most_are(within=10.0) <= max(honest)


def test_old_claims_do_not_count():
    clock = Clock()
    box = mailbox(clock=clock)
    assert box.where_most_are(within=5.0) is None
    for sender in (1, 2, 3):
        box.note(sender, incarnation=1, position=(3, 0))
    clock.now += 6.0
    box.note(4, incarnation=1, position=(90, 0))
    assert box.where_most_are(within=5.0) == 90
    assert box.where_most_are(within=10.0) == 3


def members(box: Mailbox, *, patience: int = 2) -> Members:
    roster = Roster(tuple("abcdefgh"), dict.fromkeys("abcdefgh", ()))
    return Members(roster=roster, number=0, view=SimpleNamespace(known=()), mailbox=box, patience=patience)


def progress(number: int) -> Progress:
    return Progress(task=b"", agreement=b"", incarnation=1, round=number, exchange=0, kept=False)


def test_a_member_is_absent_after_as_many_misses_as_patience_allows():
    box = mailbox(position=(10, 0))
    those = members(box)
    for came in (False, True, False, False):
        assert not those.is_absent(5)
        those.expected(5, arrived=came)
    assert those.absent() == (5,)
    those.heard(5, progress(9))  # it is behind, and would not be in time
    assert those.is_absent(5)
    those.heard(5, progress(10))
    assert not those.is_absent(5)


def waits_for(those: Members, *, comes, exchanges: int) -> int:
    """How often a member is waited for that answers all questions, and whose rows come as `comes` says."""
    waited = 0
    for number in range(exchanges):
        those.heard(5, progress(10))
        waited += not those.is_absent(5)
        those.expected(5, arrived=comes(number))
    return waited


@given(st.integers(1, 6), st.integers(0, 2000))
def test_words_do_not_keep_others_waiting(patience, exchanges):
    waited = waits_for(
        members(mailbox(position=(10, 0)), patience=patience), comes=lambda _: False, exchanges=exchanges
    )
    assert waited <= 4 * patience + exchanges / 16 + 1
    assert waited >= min(exchanges, 4 * patience)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 300))
def test_who_comes_half_of_the_time_is_always_waited_for(patience, every, exchanges):
    those = members(mailbox(position=(10, 0)), patience=patience)
    assert waits_for(those, comes=lambda number: number % every > 0, exchanges=exchanges) == exchanges


def test_who_kept_others_waiting_is_waited_for_again_when_its_rows_come():
    those = members(mailbox(position=(10, 0)))
    waits_for(those, comes=lambda _: False, exchanges=100)
    those.heard(5, progress(10))
    assert those.is_absent(5)
    those.expected(5, arrived=True)
    assert not those.is_absent(5)
    assert waits_for(those, comes=lambda _: True, exchanges=50) == 50
