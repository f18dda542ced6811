"""A peer's part in the masked sums of its neighbours: answers to their questions, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from gossipfl.errors import MessageRefused, PeerBusy, ShareForged, SummandsExposed, UnexpectedRound
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.secure import (
    Introduction,
    Invitation,
    KeyBook,
    Participants,
    SealingKey,
    Sender,
    Session,
    Signatures,
    Survivors,
    Unopened,
)
from gossipfl.wire import Frame, SumMessage, SumStep, encode

__all__ = ["Summands"]


@dataclass(kw_only=True, eq=False)
class Summands:
    """The rows that this peer adds to masked sums, one for each receiver and exchange.

    Memory is bounded: there is one for each neighbour in each exchange of the current round, and of as many
    earlier and later ones as the mailbox keeps rows for.

    Parameters
    ----------
    plan : RoundsPlan
    key : SealingKey
        This peer's own.
    keys : KeyBook
    mailbox : Mailbox
        Knows the peer's position, and is woken when something changes.
    """

    plan: RoundsPlan
    key: SealingKey
    keys: KeyBook
    mailbox: Mailbox

    def __post_init__(self) -> None:
        self._senders: dict[tuple[Position, int], Sender] = {}
        self._revealed: set[tuple[Position, int]] = set()

    def answer(self, receiver: int, message: SumMessage) -> Frame:
        """Answer a question of the receiver of a sum.

        Raises
        ------
        UnexpectedRound
            This peer has no row in such a sum, or is past it.
        PeerBusy
            The sum is too far ahead.
        MalformedStatement, InconsistentSum, KeyUnknown, SumKeyForged
            As in `Sender` and `KeyBook`.
        """
        content = b""
        if message.step == SumStep.INTRODUCTION:
            for key in Introduction.from_bytes(message.content).keys:
                if key.number != self.key.number:
                    self.keys.admit(key)
            content = self.key.signed.to_bytes()
        else:
            content = self._answer(receiver, message)
        frame = encode(replace(message, content=content))
        if message.step == SumStep.SIGNATURES:
            frame.on_release = partial(self._note_revealed, (message.round, message.exchange), receiver)
        return frame

    def sender(self, position: Position, receiver: int) -> Sender | None:
        """Return this peer's part in a sum once it knows with whom to mask its row."""
        sender = self._senders.get((position, receiver))
        return sender if sender is not None and sender.is_ready else None

    def has_revealed(self, position: Position, receiver: int) -> bool:
        """Return whether this peer has done all that the receiver needs of it."""
        return (position, receiver) in self._revealed

    def _note_revealed(self, position: Position, receiver: int) -> None:
        """Note that the last answer has been sent, or cannot be."""
        self._revealed.add((position, receiver))
        self.mailbox.wake()

    def _answer(self, receiver: int, message: SumMessage) -> bytes:
        position = (message.round, message.exchange)
        sender = self._sender(position, receiver)
        if message.step == SumStep.INVITATION:
            self._require_before_the_row(position)
            return sender.share(Invitation.from_bytes(message.content)).to_bytes()
        if message.step == SumStep.PARTICIPANTS:
            self._require_before_the_row(position)
            try:
                sender.accept(Participants.from_bytes(message.content))
            except ShareForged as error:
                return Unopened(tuple(map(sender.session.place, error.members))).to_bytes()
            self.mailbox.wake()
            return Unopened(()).to_bytes()
        if message.step == SumStep.SURVIVORS:
            return sender.confirm(Survivors.from_bytes(message.content))
        if message.step == SumStep.SIGNATURES:
            return sender.reveal(Signatures.from_bytes(message.content)).to_bytes()
        raise MessageRefused("a masked sum has no such step", expected="1 to 5", got=message.step)

    def _sender(self, position: Position, receiver: int) -> Sender:
        now = self.mailbox.position
        if position[1] >= len(self.plan.forms) or position[0] < now[0] - self.mailbox.ahead:
            raise UnexpectedRound("this peer has no row in such a sum, or forgot it", got=position)
        if position[0] > now[0] + self.mailbox.ahead:
            raise PeerBusy(f"the sum is of round {position[0]}, but this peer is in {now[0]}")
        self._forget_before(now[0] - self.mailbox.ahead)
        known = self._senders.get((position, receiver))
        if known is None:
            self._require_before_the_row(position)
            known = Sender(self._session(position, receiver), key=self.key, keys=self.keys)
            self._senders[position, receiver] = known
        return known

    def _session(self, position: Position, receiver: int) -> Session:
        try:
            session = self.plan.session(position, receiver)
        except SummandsExposed as error:
            raise UnexpectedRound("the sum would show its summands", got=error.got) from error
        if self.key.number not in session.neighbours:
            raise UnexpectedRound(
                f"this peer has no row for member {receiver} in exchange {position[1]} of round {position[0]}"
            )
        return session

    def _require_before_the_row(self, position: Position) -> None:
        if position < self.mailbox.position:
            raise UnexpectedRound("this peer has left the exchange of this sum", got=position)

    def _forget_before(self, first: int) -> None:
        for place in [each for each in self._senders if each[0][0] < first]:
            del self._senders[place]
            self._revealed.discard(place)
