"""The contract of a transformation of outgoing rows: its effect on rows and means, and its draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

from gossipfl.codecs.draws import normals

__all__ = ["Draws", "Effect", "Normals", "Transformation", "Words"]

Normals: TypeAlias = Callable[[Tensor, int], Tensor]
"""From keys, int64 ``[B]``, and a count to independent standard normals, float64 ``[B, count]``."""

Words: TypeAlias = Callable[[Tensor, int], Tensor]
"""From keys, int64 ``[B]``, and a count to words, uniform over all 64-bit integers, int64 ``[B, count]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The source of random draws for the rows of one exchange or message.

    Parameters
    ----------
    keys : Tensor
        A key for each row, int64 ``[B]``: a function of (seed, node, round, exchange), or of the message.
    common : int
        A key that all nodes of the exchange share: a function of (seed, round, exchange).
    normals : callable
        Source of noise: the keys, so that a simulation can be repeated, or a secret.
    """

    keys: Tensor
    common: int = 0
    normals: Normals = normals


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A bound on the effect of a transformation T on a row x: ``E‖T(x) − x‖² ≤ relative · ‖x‖² + absolute``.

    Parameters
    ----------
    unbiased : bool
        Whether ``E T(x) = x``, so that means are right in expectation.
    relative : float
        Infinite if no bound is known.
    absolute : float
    """

    unbiased: bool
    relative: float = 0.0
    absolute: float = 0.0


class Transformation(Protocol):
    """A function of rows, each on its own, before they leave their nodes.

    It keeps nothing between calls. The outcome for a row is the same alone and among others, bit for bit, so that
    simulations and peers send the same.
    """

    @property
    def name(self) -> str:
        """Name with parameters, such as ``clip:1.0``."""
        ...

    def width(self, size: int) -> int:
        """How many of a row's ``size`` numbers are left; bytes follow from it."""
        ...

    def effect(self, size: int) -> Effect:
        """Its effect on rows of ``size`` numbers."""
        ...

    def apply(self, rows: Tensor, draws: Draws) -> Tensor:
        """Transform rows ``[B, size]``, float32 or float64, to ``[B, width]`` of the same dtype."""
        ...
