"""Rows on their way in an exchange: as they were given, and as receivers decode them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gossipfl.algorithms import Mixed, Neighbourhood
from gossipfl.outgoing import restored

__all__ = ["Sent"]


@dataclass(frozen=True, slots=True)
class Sent:
    """Rows as an algorithm gave them, as receivers decode them, and which of their numbers those are."""

    rows: Tensor
    decoded: Tensor
    columns: Tensor | None

    @property
    def whole(self) -> Tensor:
        """The rows that receivers decode, and the senders' own where nothing was sent."""
        return restored(self.rows, self.decoded, self.columns)

    def widened(self, around: Neighbourhood) -> Neighbourhood:
        """A neighbourhood of whole rows."""
        if self.columns is None:
            return around
        return around.widened(self.rows.index_select(0, around.nodes), self.columns)

    def mixed(self, arrived: Tensor) -> Mixed:
        """The answer, with each receiver's own row where nothing was sent."""
        return Mixed(rows=restored(self.rows, arrived, self.columns), sent=self.whole)
