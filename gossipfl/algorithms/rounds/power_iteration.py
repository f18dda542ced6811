"""Linear algebra of power iteration on links: rows as matrices, bases, and signs common to both ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.algorithms.base import Links, RoundContext
from gossipfl.codecs.buckets import ordered_sum
from gossipfl.codecs.draws import exchange_keys, uniforms
from gossipfl.errors import SettingError

__all__ = ["BothEnds", "Matrices", "orthonormal"]

_MOST_RANK = 2**16
_ROUNDING_SHARE = 1e-6  # of a column's length: less than that, left by projection, is rounding


@dataclass(frozen=True, slots=True)
class _Place:
    """The place in a row of an m × n matrix, approximated by rank r."""

    start: int
    m: int
    n: int
    r: int


@dataclass(frozen=True, slots=True)
class Matrices:
    """The shared part of a row as matrices and vectors.

    Parameters
    ----------
    places : tuple
        Of matrices.
    spans : tuple of (int, int)
        Starts and ends of vectors.
    """

    places: tuple[_Place, ...]
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, ...]], *, rank: int, size: int) -> Matrices:
        """Lay shapes out one after the other: two or more dimensions make a matrix, one a vector.

        Raises
        ------
        SettingError
            They hold another number of numbers than ``size``.
        """
        places, spans, start = [], [], 0
        for shape in shapes:
            count = math.prod(shape)
            m = shape[0] if shape else 1
            n = count // m if m else 0
            if len(shape) > 1 and min(m, n) > 1:
                places.append(_Place(start, m, n, min(rank, m, n)))
            else:
                spans.append((start, start + count))
            start += count
        if start != size:
            raise SettingError("the shapes are not those of the shared row", expected=size, got=start)
        return cls(tuple(places), tuple(spans))

    @property
    def left_size(self) -> int:
        """Numbers of all left factors, m × r each."""
        return sum(place.m * place.r for place in self.places)

    @property
    def right_size(self) -> int:
        """Numbers of all right factors, n × r each."""
        return sum(place.n * place.r for place in self.places)

    def columns(self, factors: Tensor, *, left: bool) -> list[Tensor]:
        """Take factors ``[L, K]`` apart: ``[L, m, r]`` each, or ``[L, n, r]``."""
        heights = [place.m if left else place.n for place in self.places]
        sizes = [height * place.r for height, place in zip(heights, self.places, strict=True)]
        parts: Sequence[Tensor] = torch.split(factors, sizes, dim=1) if sizes else ()
        return [
            part.reshape(len(factors), height, place.r)
            for part, height, place in zip(parts, heights, self.places, strict=True)
        ]

    def joined(self, columns: Sequence[Tensor], *, like: Tensor) -> Tensor:
        """Join factors again, ``[L, K]`` like those that were split."""
        return torch.cat([like[:, :0], *(each.flatten(1) for each in columns)], dim=1)

    def vectors(self, rows: Tensor) -> Tensor:
        """Whatever is not a matrix, ``[L, V]``."""
        return torch.cat([rows[:, :0], *(rows[:, start:end] for start, end in self.spans)], dim=1)

    def projected(self, rows: Tensor, basis: Sequence[Tensor], *, onto_left: bool) -> Tensor:
        """Compute ``X^T P̂`` of all matrices, or ``X Q̂``: ``[L, K]``."""
        parts = [rows[:, :0]]
        for place, columns in zip(self.places, basis, strict=True):
            X = self._matrix(rows, place)
            parts.append((torch.bmm(X.mT, columns) if onto_left else torch.bmm(X, columns)).flatten(1))
        return torch.cat(parts, dim=1)

    def product(self, basis: Sequence[Tensor], found: Tensor, rest: Tensor, *, left: bool) -> Tensor:
        """Compute ``P̂ Q^T`` of all matrices, or ``P Q̂^T``, and put vectors in their places: ``[L, P]``."""
        size = max([end for _, end in self.spans] + [p.start + p.m * p.n for p in self.places], default=0)
        rows = found.new_zeros(found.shape[0], size)
        for place, known, sought in zip(self.places, basis, self.columns(found, left=not left), strict=True):
            P, Q = (known, sought) if left else (sought, known)
            self._matrix(rows, place).copy_(_outer(P, Q))
        if rest.shape[1]:
            start = 0
            for first, end in self.spans:
                rows[:, first:end] = rest[:, start : start + end - first]
                start += end - first
        return rows

    @staticmethod
    def _matrix(rows: Tensor, place: _Place) -> Tensor:
        numbers = rows[:, place.start : place.start + place.m * place.n]
        return numbers.view(len(rows), place.m, place.n)


@dataclass(frozen=True, slots=True)
class BothEnds:
    """State that both ends of a link must compute identically.

    Parameters
    ----------
    links : Links
    sign : Tensor
        1 at the end whose node has the smaller number, −1 at the other, ``[L, 1]``.
    number : Tensor
        Of the link, the same at both ends, int64 ``[L]``.
    """

    links: Links
    sign: Tensor
    number: Tensor

    @classmethod
    def of(cls, links: Links, context: RoundContext) -> BothEnds:
        """Number links by the numbers of their ends."""
        owners = context.numbers.index_select(0, links.owner)
        lower, upper = torch.minimum(owners, links.neighbours), torch.maximum(owners, links.neighbours)
        sign = torch.where(owners < links.neighbours, 1, -1)[:, None]
        return cls(links, sign, (lower << 32) + upper)

    def keys(self, context: RoundContext, iteration: int) -> Tensor:
        """Keys of both ends' draws in an iteration."""
        return exchange_keys(self.number, seed=context.seed, round_number=context.round, exchange=iteration)

    def difference(self, own: Tensor, neighbours: Tensor) -> Tensor:
        """Upper end's message less the lower end's, the same at both."""
        return torch.where(self.sign > 0, neighbours - own, own - neighbours)

    def summed(self, moves: Tensor, count: int) -> Tensor:
        """Sum moves of the lower towards the upper end over each node's links, ``[B, P]``: w_ij times each."""
        weights = (self.links.weights[:, None] * self.sign).to(moves.dtype)
        return moves.new_zeros(count, moves.shape[1]).index_add_(0, self.links.owner, moves * weights)


def orthonormal(factors: Sequence[Tensor], *, keys: Tensor) -> list[Tensor]:
    """Make the columns of factors ``[L, m, r]`` orthonormal; zero or dependent columns are redrawn.

    Gram and Schmidt's, each projection twice, with sums in one order: the two ends of a link find the same.
    """
    made = []
    for place, factor in enumerate(factors):
        columns: list[Tensor] = []
        for column in range(factor.shape[2]):
            given = factor[:, :, column].to(torch.float64)
            chosen = _apart(given, columns)
            lost = ~(_length(chosen) > _ROUNDING_SHARE * _length(given))
            if bool(lost.any()):
                draws = uniforms(keys + place * _MOST_RANK + column, factor.shape[1])
                chosen = torch.where(lost, _apart(draws.to(torch.float64) - 0.5, columns), chosen)
            columns.append(chosen / _length(chosen))
        made.append(torch.stack(columns, dim=2).to(factor.dtype))
    return made


def _apart(column: Tensor, others: Sequence[Tensor]) -> Tensor:
    for other in (*others, *others):
        column = column - other * ordered_sum(column * other)[:, None]
    return column


def _length(column: Tensor) -> Tensor:
    return ordered_sum(column.square())[:, None].sqrt()


def _outer(P: Tensor, Q: Tensor) -> Tensor:
    """``P Q^T``, summed column by column: identical at both ends of a link."""
    product = P[:, :, :1] * Q[:, None, :, 0]
    for column in range(1, P.shape[2]):
        product = product + P[:, :, column : column + 1] * Q[:, None, :, column]
    return product
