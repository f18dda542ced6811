"""Noise on coefficients: each draw of an algorithm is a source of its own, and knows who drew it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from gossipfl.algorithms.base import Links
from gossipfl.algorithms.round_noise import RoundNoise

__all__ = ["Drawn", "Draws", "Link", "SymbolicNoise"]

Drawn = tuple[int, int]
"""The node that drew some noise, and the one that drew the same, or -1."""

Link = Callable[[int, int], tuple[Hashable, Drawn] | None]
"""From the numbers of a node and a neighbour to the name of the noise that they share; None if they share none."""


class Draws:
    """Standard normals, each the next of given rows.

    Parameters
    ----------
    rows : Tensor
        In the order in which they are drawn, float64 ``[z, D]``; further ones are zero.

    Attributes
    ----------
    drawn : list of Drawn
        Who drew each.
    """

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows
        self._shared: dict[Hashable, Tensor] = {}
        self.drawn: list[Drawn] = []

    def next(self, who: Drawn, width: int) -> Tensor:
        """Draw, ``[width]``."""
        place = len(self.drawn)
        self.drawn.append(who)
        return self._rows[place] if place < len(self._rows) else self._rows.new_zeros(width)

    def shared(self, name: Hashable, who: Drawn, width: int) -> Tensor:
        """Draw, or give what was drawn by this name, ``[width]``."""
        if name not in self._shared:
            self._shared[name] = self.next(who, width)
        return self._shared[name]

    def leaving(self, senders: Sequence[int], rows: Tensor, *, deviation: float) -> Tensor:
        """Rows with noise of this deviation on each, as they leave their senders."""
        if not deviation or not senders:
            return rows
        return rows + deviation * torch.stack([self.next((sender, -1), rows.shape[1]) for sender in senders])


def _of_link(number: int, other: int) -> tuple[Hashable, Drawn]:
    ends = (min(number, other), max(number, other))
    return ends, ends


class SymbolicNoise(RoundNoise):
    """`RoundNoise` of B nodes in which each standard normal is a source.

    Noise on values that are released is not among them: it is noise of the values themselves.

    Parameters
    ----------
    draws : Draws
    nodes : sequence of int
        The B nodes, as they are counted in the run.
    link : callable, optional
        By default the ends of each link share noise.
    rests : bool
        Whether there are no values to be released: then their noise is by itself.
    """

    def __init__(
        self, draws: Draws, nodes: Sequence[int], *, link: Link = _of_link, rests: bool = False
    ) -> None:
        self._draws, self._nodes, self._link, self._rests = draws, list(nodes), link, rests

    def own(self, width: int, *, purpose: int = 0) -> Tensor:
        """Draw for each node, ``[B, width]``."""
        del purpose  # each is drawn once
        return torch.stack([self._draws.next((node, -1), width) for node in self._nodes])

    def edge(self, first: int, second: int, width: int, *, purpose: int = 0) -> Tensor:
        """Draw for a link, the same at both ends, ``[width]``."""
        del purpose
        return self._draws.shared((first, second), (first, second), width)

    def cancelling(self, numbers: Tensor, links: Links, *, width: int, deviation: float) -> Tensor:
        """Noise that the ends of links share, real-valued, ``[B, width]``."""
        total = torch.zeros(len(numbers), width, dtype=torch.float64)
        for place, other in zip(links.owner.tolist(), links.neighbours.tolist(), strict=True):
            number = int(numbers[place])
            link = self._link(number, other)
            drawn = (
                self._draws.next((self._nodes[place], -1), width)
                if link is None
                else self._draws.shared(*link, width)
            )
            total[place] += (deviation if number < other else -deviation) * drawn
        return total

    def released(
        self, values: Tensor, *, deviation: float, clip: float | None = None, purpose: int = 0
    ) -> Tensor:
        """Return the values: they are as short as they are to be, and their noise is their own."""
        del clip
        return values + deviation * self.own(values.shape[1], purpose=purpose) if self._rests else values
