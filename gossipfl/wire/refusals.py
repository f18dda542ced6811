"""Refusals: how a peer tells another, by name, why it did not accept a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from gossipfl.errors import GossipflError, PeerBusy, RefusedByNeighbour
from gossipfl.wire.limits import Limits
from gossipfl.wire.preamble import Kind
from gossipfl.wire.replay_guard import REMEDY as REPLAYED
from gossipfl.wire.schema import Fields

__all__ = ["REMEDIES", "Refusal"]

_CODE = re.compile(r"[a-z][a-z0-9_]*")
# Printable ASCII only: a neighbour's words end in logs and terminals, where escape sequences would act.
_TEXT = re.compile(r"[ -~]*")

#: What the refused peer can do, by code. A code not listed here is passed on as it came.
REMEDIES: Mapping[str, str] = {
    "checksum_mismatch": "The message was damaged, or its row was changed while it was being sent.",
    "incompatible_model": "Both peers must build the same model and share the same parameters.",
    "incompatible_rounds": "All peers must have the same roster, algorithm, topology, codec and seed of rounds.",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A named reason for not accepting a message.

    Parameters
    ----------
    code : str
        ``ERROR.counter()`` of the error met, e.g. ``incompatible_task`` or ``peer_busy``.
    text : str
        For people; printable ASCII.
    """

    kind: ClassVar[Kind] = Kind.REFUSAL
    code: str
    text: str = ""

    @classmethod
    def of(cls, error: GossipflError, *, limits: Limits | None = None) -> Self:
        """Make the refusal that reports an error to the other peer; its text is cut to the limit."""
        most = (limits or Limits()).text_length
        said = str(error).removesuffix(f". {error.remedy}")  # what the reader can do, the reader knows
        words = "".join(letter if " " <= letter <= "~" else "?" for letter in said[:most])
        return cls(code=error.counter(), text=words)

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        read = Fields(fields, keys=("code", "text"))
        return cls(
            code=read.string("code", most=limits.name_length, pattern=_CODE),
            text=read.string("text", most=limits.text_length, pattern=_TEXT),
        )

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        return {"code": self.code, "text": self.text}

    def error(self) -> PeerBusy | RefusedByNeighbour:
        """Give the error the refused peer raises: `PeerBusy`, or `RefusedByNeighbour` with the code."""
        if self.code == PeerBusy.counter():
            return PeerBusy(f"the neighbour is busy: {self.text}")
        return RefusedByNeighbour(self.code, self.text, remedy=REMEDIES.get(self.code))
