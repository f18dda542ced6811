"""Masked sums carried out in memory, every message through its encoding, with drop-outs at every step."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from gossipfl.network import Identity
from gossipfl.secure import (
    Introduction,
    Invitation,
    KeyBook,
    Participants,
    Receiver,
    RevealedShares,
    SealedShares,
    SealingKey,
    Sender,
    Session,
    Signatures,
    Survivors,
)

AGREEMENT = hashlib.sha256(b"these rounds").digest()
STEPS = ("share", "mask", "confirm", "reveal")
"""Before which of its steps a neighbour drops out."""


class Stream:
    """Random bytes from a seed."""

    def __init__(self, seed):
        self._generator = np.random.default_rng(seed)

    def __call__(self, count):
        return self._generator.bytes(count)


def identity_of(number):
    return Identity(hashlib.sha256(f"member {number}".encode()).digest())


@dataclass
class Network:
    """Members with keys, each known to all."""

    numbers: tuple
    agreement: bytes = AGREEMENT
    incarnation: int = 1
    keys: dict = field(init=False)
    books: dict = field(init=False)

    def __post_init__(self):
        identities = {each: identity_of(each) for each in (*self.numbers, 0)}
        self.keys = {
            each: SealingKey(
                number=each,
                incarnation=self.incarnation,
                agreement=self.agreement,
                sign=identities[each].sign,
            )
            for each in identities
        }
        public = {each: identity.public_key for each, identity in identities.items()}
        self.books = {each: KeyBook(public, agreement=self.agreement) for each in identities}
        told = through(Introduction(tuple(key.signed for key in self.keys.values())))
        for book in self.books.values():
            for key in told.keys:
                book.admit(key)

    def session(self, round_number=7, exchange=0):
        return Session(
            agreement=self.agreement,
            round=round_number,
            exchange=exchange,
            receiver=0,
            neighbours=tuple(sorted(self.numbers)),
        )

    def sender(self, number, session=None, seed=None):
        arguments = {} if seed is None else {"entropy": Stream((seed, number))}
        return Sender(session or self.session(), key=self.keys[number], keys=self.books[number], **arguments)

    def receiver(self, session=None):
        return Receiver(session or self.session(), keys=self.books[0])


def through(message, transcript=None):
    """A message as the other side reads it."""
    data = message.to_bytes()
    if transcript is not None:
        transcript.append(data)
    return type(message).from_bytes(data)


def masked_sum(network, rows, *, drops=None, session=None, transcript=None, seed=None):
    """The sum that the receiver gets, and whose rows are in it.

    Parameters
    ----------
    rows : mapping of int to ring elements
    drops : mapping of int to one of STEPS
    """
    drops = drops or {}
    transcript = [] if transcript is None else transcript
    session = session or network.session()
    receiver = network.receiver(session)
    senders = {each: network.sender(each, session, seed) for each in network.numbers}

    def stays(number, step):
        return number not in drops or STEPS.index(drops[number]) > STEPS.index(step)

    invitation = through(receiver.invitation(network.numbers), transcript)
    for number, sender in senders.items():
        if stays(number, "share"):
            receiver.shared(number, through(sender.share(invitation), transcript))
    for number in receiver.fix_participants():
        told = through(receiver.participants(number), transcript)
        if stays(number, "mask"):
            senders[number].accept(told)
            masked = senders[number].masked(rows[number])
            transcript.append(masked.tobytes())
            receiver.row(number, masked)
    survivors = through(receiver.survivors(), transcript)
    for number in receiver.summands:
        if stays(number, "confirm"):
            signature = senders[number].confirm(survivors)
            transcript.append(signature)
            receiver.confirmed(number, signature)
    signatures = through(receiver.signatures(), transcript)
    for number in receiver.summands:
        if stays(number, "reveal"):
            receiver.revealed(number, through(senders[number].reveal(signatures), transcript))
    return receiver.total(), receiver.summands


MESSAGES = (Introduction, Invitation, SealedShares, Participants, Survivors, Signatures, RevealedShares)
