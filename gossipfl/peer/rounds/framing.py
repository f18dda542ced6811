"""Frames of a peer's messages in rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gossipfl.codecs import PayloadTensor
from gossipfl.rounds.plan import Position
from gossipfl.tasks import Task
from gossipfl.wire import Frame, encode_round

__all__ = ["Framing"]


@dataclass(frozen=True, kw_only=True)
class Framing:
    """What all frames of a start have in common.

    Parameters
    ----------
    task : Task
    agreement : bytes
        Of the plan.
    incarnation : int
    """

    task: Task
    agreement: bytes
    incarnation: int

    def frame(self, position: Position, payload: tuple[PayloadTensor, ...], *, codec: str) -> Frame:
        """Frame one payload; the position is that on the wire."""
        return encode_round(
            payload,
            codec=codec,
            task=self.task.fingerprint,
            layout=self.task.layout.digest,
            agreement=self.agreement,
            incarnation=self.incarnation,
            position=position,
        )

    def frames(
        self, position: Position, payloads: Mapping[int, tuple[PayloadTensor, ...]], *, codec: str
    ) -> dict[int, Frame]:
        """Frame what each recipient is sent; recipients of one payload share a frame."""
        framed: dict[int, Frame] = {}  # by identity of the payload
        frames = {}
        for recipient, payload in payloads.items():
            if id(payload) not in framed:
                framed[id(payload)] = self.frame(position, payload, codec=codec)
            frames[recipient] = framed[id(payload)]
        return frames
