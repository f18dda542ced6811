"""Refusals: the named reasons for which a peer does not accept a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from gossipfl.errors import (
    ExchangeFailed,
    GossipflError,
    ImplausibleAge,
    InconsistentSum,
    KeyUnknown,
    MalformedFrame,
    MessageRefused,
    PeerBusy,
    RefusedByNeighbour,
    ShareForged,
    SumKeyForged,
    TruncatedFrame,
)
from gossipfl.wire.headers import Header, RefusalCode, RefusalText
from gossipfl.wire.limits import Limits
from gossipfl.wire.preamble import Kind
from gossipfl.wire.replay_guard import REMEDY as REPLAYED

__all__ = ["CODES", "REMEDIES", "Refusal"]

#: Remedies for the refused peer, by code. Other codes are passed on unchanged.
REMEDIES: Mapping[str, str] = {
    "checksum_mismatch": "The message was damaged, or its row changed while it was being sent.",
    "incompatible_model": "Both peers must build the same model and share the same parameters.",
    "incompatible_rounds": "All peers must have the same roster, algorithm, topology, codec and seed of rounds, "
    "and where residues are sent, the same step sizes.",
    "incompatible_task": "Both peers must run the same task, with the same version and initial seed.",
    "message_too_large": "Both peers must build the same model and share the same parameters.",
    "non_finite_update": "Training has diverged: lower the learning rate or clip gradients.",
    "rate_limited": "Exchange less often.",
    "replayed_message": REPLAYED,
    "unexpected_round": "Both peers must run the same version of gossipfl.",
    "unexpected_tensor": "Both peers must share the same layout and codec.",
    "unknown_codec": "Choose a codec that the neighbour reads.",
    "unsupported_version": "Upgrade the peer whose version is lower.",
}
_WITHOUT_REMEDY: Final = (
    ExchangeFailed,
    ImplausibleAge,
    InconsistentSum,
    KeyUnknown,
    MalformedFrame,
    MessageRefused,
    PeerBusy,
    ShareForged,
    SumKeyForged,
    TruncatedFrame,
)
#: All that the protocol knows. A neighbour may invent others, so none of those names a count.
CODES: Final = frozenset({*REMEDIES, *(each.counter() for each in _WITHOUT_REMEDY)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Header):
    """A named reason for not accepting a message.

    Parameters
    ----------
    code : str
        ``ERROR.counter()`` of the error, e.g. ``incompatible_task`` or ``peer_busy``.
    text : str
        For people; printable ASCII.
    """

    kind: ClassVar[Kind] = Kind.REFUSAL
    code: RefusalCode
    text: RefusalText = ""

    @classmethod
    def of(cls, error: GossipflError, *, limits: Limits | None = None) -> Self:
        """Make the refusal that reports an error to the other peer, with the text cut to the limit."""
        most = (limits or Limits()).text_length
        text = str(error).removesuffix(f". {error.remedy}")  # the refused peer has its own remedy
        printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:most])
        return cls(code=error.counter(), text=printable)

    def error(self) -> PeerBusy | RefusedByNeighbour:
        """Return the error that the refused peer raises: `PeerBusy`, or `RefusedByNeighbour` with the code."""
        if self.code == PeerBusy.counter():
            return PeerBusy(f"the neighbour is busy: {self.text}")
        return RefusedByNeighbour(self.code, self.text, remedy=REMEDIES.get(self.code))
