"""Claims of messages: models said to be older than they are, or made longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter
from gossipfl.attacks.base import SameToAll, Senders

__all__ = ["AgeInflation", "Scaled"]

_OLDEST = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeInflation(SameToAll):
    """A true model, said to be far older than it is, so that it outweighs what it is merged with."""

    name = "age_inflation"
    rule = "x_j, or x_j^0, at age f t_j + a"

    of: Annotated[Literal["newest", "first"], Parameter("which of the node's models is sent")] = "newest"
    factor: Annotated[float, Parameter("f: claimed age over the true one", ge=1)] = 1.0
    more: Annotated[int, Parameter("a: training steps that are added", ge=0, le=2**53)] = 2**40

    def start(self, rows: Tensor) -> dict[str, Tensor]:
        """Keep the first rows, if those are sent."""
        return {"first": rows.clone()} if self.of == "first" else {}

    def send(self, senders: Senders) -> Tensor:
        """Send a true model."""
        return senders.memory["first"] if self.of == "first" else senders.rows

    def claim(self, ages: Tensor) -> Tensor:
        """Claim more."""
        claimed = (ages.double() * self.factor + self.more).clamp(max=_OLDEST)
        return torch.maximum(claimed.long(), ages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled(SameToAll):
    """The node's own row, made longer or shorter."""

    name = "scaled"
    rule = "s x_j"

    scale: Annotated[float, Parameter("s", gt=0)] = 10.0

    def send(self, senders: Senders) -> Tensor:
        """Scale."""
        return self.scale * senders.rows
