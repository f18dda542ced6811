"""Row spaces in rational arithmetic: the reference that the accountant must equal."""

from __future__ import annotations

from fractions import Fraction

Row = list[Fraction]


def unit(size: int, place: int) -> Row:
    return [Fraction(int(i == place)) for i in range(size)]


def reduced(rows: list[Row]) -> list[Row]:
    """The reduced row echelon form, without rows of zeros."""
    basis: list[tuple[int, Row]] = []
    for row in rows:
        rest = row
        for pivot, known in basis:
            if rest[pivot]:
                rest = [a - rest[pivot] * b for a, b in zip(rest, known, strict=True)]
        pivot = next((place for place, value in enumerate(rest) if value), None)
        if pivot is None:
            continue
        rest = [value / rest[pivot] for value in rest]
        basis = [
            (
                place,
                [a - known[pivot] * b for a, b in zip(known, rest, strict=True)] if known[pivot] else known,
            )
            for place, known in basis
        ]
        basis.append((pivot, rest))
    return [row for _, row in basis]


def projector_diagonal(rows: list[Row]) -> list[Fraction]:
    """Diagonal of B⁺B, as Rᵀ(RRᵀ)⁻¹R with the echelon form R."""
    basis = reduced(rows)
    rank, size = len(basis), len(rows[0])
    gram = [[sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0)) for y in basis] for x in basis]
    solved = _solved([[*left, *right] for left, right in zip(gram, basis, strict=True)], rank)
    return [sum((basis[k][u] * solved[k][rank + u] for k in range(rank)), Fraction(0)) for u in range(size)]


def _solved(rows: list[Row], rank: int) -> list[Row]:
    for place in range(rank):
        pivot = next(k for k in range(place, rank) if rows[k][place])
        rows[place], rows[pivot] = rows[pivot], rows[place]
        rows[place] = [value / rows[place][place] for value in rows[place]]
        for k in range(rank):
            if k != place and rows[k][place]:
                rows[k] = [a - rows[k][place] * b for a, b in zip(rows[k], rows[place], strict=True)]
    return rows
