"""Sums of neighbours' rows that show nothing but the sum, without I/O; see ``docs/secure-sums.md``."""

from gossipfl.secure.cost import Cost, cost_of
from gossipfl.secure.keys import KeyBook, SealingKey, SignedKey
from gossipfl.secure.messages import (
    Introduction,
    Invitation,
    Participants,
    RevealedShares,
    SealedShares,
    Signatures,
    Survivors,
    Unopened,
)
from gossipfl.secure.receiver import Receiver
from gossipfl.secure.ring import FixedPoint, RingRow, ring_sum
from gossipfl.secure.sender import Sender
from gossipfl.secure.session import FEWEST_SUMMANDS, MOST_SUMMANDS, Session, threshold_of

__all__ = [
    "FEWEST_SUMMANDS",
    "MOST_SUMMANDS",
    "Cost",
    "FixedPoint",
    "Introduction",
    "Invitation",
    "KeyBook",
    "Participants",
    "Receiver",
    "RevealedShares",
    "RingRow",
    "SealedShares",
    "SealingKey",
    "Sender",
    "Session",
    "Signatures",
    "SignedKey",
    "Survivors",
    "Unopened",
    "cost_of",
    "ring_sum",
    "threshold_of",
]
