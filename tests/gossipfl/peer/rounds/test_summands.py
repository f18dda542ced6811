"""A peer's answers to the receivers of masked sums: in time, once, and to members only."""

from dataclasses import replace

import numpy as np
import pytest

from gossipfl.codecs import FLOAT32
from gossipfl.errors import (
    InconsistentSum,
    KeyUnknown,
    MalformedStatement,
    MessageRefused,
    PeerBusy,
    SumKeyForged,
    UnexpectedRound,
)
from gossipfl.network import Identity
from gossipfl.outgoing import Pipeline
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.summands import Summands
from gossipfl.rounds import plan_of
from gossipfl.secure import (
    FixedPoint,
    Introduction,
    KeyBook,
    Receiver,
    RevealedShares,
    SealedShares,
    SealingKey,
    SignedKey,
    Survivors,
)
from gossipfl.settings.addresses import public_key_of
from gossipfl.wire import PREAMBLE_BYTES, SumMessage, SumStep
from tests.gossipfl.rounds.test_plan import settings, trainer
from tests.gossipfl.wire.frames import decoded, expectation, flat

IDENTITIES = [Identity.generate() for _ in range(5)]
ROSTER = [each.peer_id for each in IDENTITIES]
RING = FixedPoint(largest=64.0)
AHEAD = 2


class Members:
    """Five members of a complete graph; member 0 is the receiver."""

    def __init__(self, *, introduced=True):
        given = settings(topology="complete:5", roster=ROSTER, masked_sums=True)
        identities = {number: public_key_of(peer_id) for number, peer_id in enumerate(ROSTER)}
        self.plans = [
            plan_of(given, peer_id=peer_id, trainer=trainer(given), outgoing=Pipeline(codec=FLOAT32))
            for peer_id in ROSTER
        ]
        self.agreement = self.plans[0].agreement
        keys = [
            SealingKey(number=number, incarnation=1, agreement=self.agreement, sign=each.sign)
            for number, each in enumerate(IDENTITIES)
        ]
        self.parts = {
            number: Summands(
                plan=plan,
                key=keys[number],
                keys=KeyBook(identities, agreement=self.agreement),
                mailbox=Mailbox(plan=plan, ahead=AHEAD, position=(3, 0)),
            )
            for number, plan in enumerate(self.plans)
        }
        self.introduction = Introduction(tuple(key.signed for key in keys)).to_bytes()
        if introduced:
            for number in self.parts:
                self.ask(number, SumStep.INTRODUCTION, self.introduction)
        self.receiver = Receiver(self.plans[0].session((3, 0), 0), keys=self.parts[0].keys)

    def ask(self, number, step, content=b"", *, round_number=3, exchange=0, asking=0):
        """The content of a member's answer, as it comes out of its frame."""
        question = SumMessage(
            agreement=self.agreement, round=round_number, exchange=exchange, step=int(step), content=content
        )
        frame = self.parts[number].answer(asking, question)
        expects = replace(expectation(4), rounds=self.plans[0].expectation())
        answer = decoded(flat(frame), expects)
        assert (answer.round, answer.step) == (round_number, step)
        frame.release()
        return answer.content

    def to_masked(self):
        invitation = self.receiver.invitation(range(1, 5)).to_bytes()
        for number in range(1, 5):
            content = self.ask(number, SumStep.INVITATION, invitation)
            self.receiver.shared(number, SealedShares.from_bytes(content))
        for number in range(1, 5):
            told = self.receiver.participants(number).to_bytes()
            assert self.ask(number, SumStep.PARTICIPANTS, told) == b""
            sender = self.parts[number].sender((3, 0), 0)
            self.receiver.row(number, sender.masked(RING.encode(np.ones(4, dtype=np.float32))))
        return self


def test_a_sum_by_questions_and_answers_in_frames():
    members = Members().to_masked()
    survivors = members.receiver.survivors().to_bytes()
    for number in range(1, 5):
        members.receiver.confirmed(number, members.ask(number, SumStep.SURVIVORS, survivors))
    signatures = members.receiver.signatures().to_bytes()
    for number in range(1, 5):
        assert not members.parts[number].has_revealed((3, 0), 0)
        shares = RevealedShares.from_bytes(members.ask(number, SumStep.SIGNATURES, signatures))
        assert members.parts[number].has_revealed((3, 0), 0)
        members.receiver.revealed(number, shares)
    assert RING.decode(members.receiver.total()).tolist() == [4.0] * 4


def test_another_list_of_survivors_is_refused_over_the_wire_too():
    members = Members().to_masked()
    members.ask(1, SumStep.SURVIVORS, Survivors((0, 1, 2, 3)).to_bytes())
    with pytest.raises(InconsistentSum, match="second time"):
        members.ask(1, SumStep.SURVIVORS, Survivors((0, 1, 2)).to_bytes())


def test_a_sum_of_an_exchange_that_is_over_or_far_ahead_is_refused_by_name():
    members = Members()
    invitation = members.receiver.invitation(range(1, 5)).to_bytes()
    for wrong, error in (
        ({"round_number": 2}, UnexpectedRound),
        ({"round_number": 0}, UnexpectedRound),
        ({"exchange": 1}, UnexpectedRound),
        ({"round_number": 3 + AHEAD + 1}, PeerBusy),
    ):
        with pytest.raises(error):
            members.ask(1, SumStep.INVITATION, invitation, **wrong)
    assert not members.parts[1]._senders
    with pytest.raises(MessageRefused, match="no such step"):
        members.ask(1, 9)
    with pytest.raises(MalformedStatement):
        members.ask(1, SumStep.INVITATION, b"any")


def test_a_peer_has_no_row_in_its_own_sum():
    members = Members()
    with pytest.raises(UnexpectedRound, match="no row for member 1"):
        members.ask(1, SumStep.INVITATION, bytes(32), asking=1)


def test_what_is_over_is_kept_for_slow_receivers_and_then_forgotten():
    members = Members().to_masked()
    part, survivors = members.parts[1], members.receiver.survivors().to_bytes()
    part.mailbox.advance((4, 0))
    with pytest.raises(UnexpectedRound, match="left the exchange"):
        members.ask(1, SumStep.PARTICIPANTS, members.receiver.participants(1).to_bytes())
    assert members.ask(1, SumStep.SURVIVORS, survivors)
    part.mailbox.advance((3 + AHEAD + 1, 0))
    with pytest.raises(UnexpectedRound, match="forgot it"):
        members.ask(1, SumStep.SURVIVORS, survivors)
    members.ask(1, SumStep.INTRODUCTION, members.introduction)
    with pytest.raises(InconsistentSum):
        members.ask(1, SumStep.INVITATION, bytes(32), round_number=3 + AHEAD + 1)
    assert list(part._senders) == [((3 + AHEAD + 1, 0), 0)]


def test_keys_that_no_member_signed_are_refused_and_unknown_ones_named():
    members = Members(introduced=False)
    stranger = SealingKey(number=2, incarnation=1, agreement=members.agreement, sign=Identity.generate().sign)
    with pytest.raises(SumKeyForged, match="member 2"):
        members.ask(1, SumStep.INTRODUCTION, Introduction((stranger.signed,)).to_bytes())
    own = members.ask(1, SumStep.INTRODUCTION, Introduction(()).to_bytes())
    assert own == members.parts[1].key.signed.to_bytes()
    assert isinstance(members.parts[1].key.signed, SignedKey)
    members.ask(0, SumStep.INTRODUCTION, members.introduction)
    invitation = members.receiver.invitation(range(1, 5)).to_bytes()
    with pytest.raises(KeyUnknown, match="member 2"):
        members.ask(1, SumStep.INVITATION, invitation)


def test_frames_of_questions_are_short():
    members = Members()
    content = members.receiver.invitation(range(1, 5)).to_bytes()
    message = SumMessage(agreement=members.agreement, round=3, exchange=0, step=2, content=content)
    frame = members.parts[1].answer(0, message)
    assert frame.size < PREAMBLE_BYTES + 120 + 32 + 32 + 1 + 3 * 48
