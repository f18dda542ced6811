"""A random mask that all nodes draw from a shared seed, so that numbers are sent without their places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.chosen import chosen_count, largest
from gossipfl.codecs.draws import scores
from gossipfl.outgoing.transformation import Draws, Effect

__all__ = ["SharedMask"]


@dataclass(frozen=True, slots=True)
class SharedMask:
    """Send the same random share of the numbers at all nodes (Tang et al., "GossipFL", IEEE TPDS 34(3), 2023).

    Numbers that are not sent stay the receiver's own: on those coordinates the mixing matrix of the exchange is
    the identity, so means over all nodes are preserved wherever the matrices preserve them, and a node's own row
    is never blurred. There are ⌊share · d⌉ coordinates, each choice as likely as any other: the paper draws each
    with probability ``share`` instead, and messages then differ in length.

    Parameters
    ----------
    share : float
    """

    share: float

    @property
    def name(self) -> str:
        """``mask:SHARE``."""
        return f"mask:{self.share}"

    def width(self, size: int) -> int:
        """⌊share · size⌉, at least one."""
        return chosen_count(self.share, size)

    def effect(self, size: int) -> Effect:
        """As far as it is sent, a row is sent as it is."""
        return Effect(unbiased=True)

    def columns(self, size: int, draws: Draws) -> Tensor:
        """Which numbers are sent, increasing, int64 ``[width]``."""
        key = torch.tensor([draws.common], dtype=torch.int64, device=draws.keys.device)
        drawn, width = scores(key, size), self.width(size)
        if drawn.device.type != "cpu":  # the same, without waiting for the card: two words are never equal
            return drawn[0].topk(width, sorted=False).indices.sort().values
        return largest(drawn, width)[0].nonzero()[:, 0]

    def apply(self, rows: Tensor, draws: Draws) -> Tensor:
        """Keep the numbers of rows ``[B, size]`` that are sent."""
        return rows.index_select(1, self.columns(rows.shape[1], draws))
