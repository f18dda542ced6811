"""Free riding: models of others, old ones, and random ones, sent in place of work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter
from gossipfl.attacks.base import SameToAll, Senders

__all__ = ["Echo", "RandomRows", "Replay", "Stale"]

_LIN = "Lin, Du & Liu, 2019"  # "Free-riders in federated learning: attacks and defenses", arXiv 1911.12560


@dataclass(frozen=True, slots=True)
class Echo(SameToAll):
    """What the node got from the others in the round before: it never trains."""

    name = "echo"
    paper = _LIN
    rule = "x_j, without a gradient"
    trains = False

    def send(self, senders: Senders) -> Tensor:
        """Send on what training has not changed."""
        return senders.rows


@dataclass(frozen=True, slots=True)
class Stale(SameToAll):
    """The row that the node had at the start, for ever."""

    name = "stale"
    paper = _LIN
    rule = "x_j^0"
    trains = False

    def start(self, rows: Tensor) -> dict[str, Tensor]:
        """Keep the first rows."""
        return {"first": rows.clone()}

    def send(self, senders: Senders) -> Tensor:
        """Send those."""
        return senders.memory["first"]


@dataclass(frozen=True, slots=True)
class RandomRows(SameToAll):
    """Random rows of the size of true ones."""

    name = "random"
    paper = _LIN
    rule = "rms(x_j) N(0, I)"
    trains = False

    def send(self, senders: Senders) -> Tensor:
        """Draw."""
        return senders.scales * senders.normals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(SameToAll):
    """The row that the node would have sent some rounds ago; the first one until then."""

    name = "replay"
    rule = "x_j^(t − lag)"

    lag: Annotated[int, Parameter("how many rounds, or messages, old the row is", ge=1, le=1000)] = 10

    def start(self, rows: Tensor) -> dict[str, Tensor]:
        """Keep the first rows in all places."""
        return {"past": rows[:, None].repeat(1, self.lag, 1)}

    def send(self, senders: Senders) -> Tensor:
        """Send the oldest."""
        return senders.memory["past"][torch.arange(len(senders.rows)), senders.turns % self.lag]

    def remembered(self, senders: Senders) -> Mapping[str, Tensor]:
        """Keep the newest in the place of the oldest."""
        past = senders.memory["past"].clone()
        past[torch.arange(len(past)), senders.turns % self.lag] = senders.rows
        return {"past": past}
