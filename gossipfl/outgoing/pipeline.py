"""All that is done to rows between an algorithm and the wire, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from gossipfl.codecs import FLOAT32, Compressor
from gossipfl.codecs.draws import rekeyed
from gossipfl.outgoing.mask import SharedMask
from gossipfl.outgoing.noise import GaussianNoise
from gossipfl.outgoing.transformation import Draws, Effect, Transformation

__all__ = ["IN_FULL", "Pipeline", "restored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Transformations of outgoing rows, and the codec that encodes the result.

    An algorithm that compresses by itself has its own codec in the place of this one; transformations come before
    it all the same.

    Parameters
    ----------
    transformations : tuple of Transformation
        In the order they apply; at most one of them a mask.
    codec : Compressor, optional
        Without one, numbers are written in full.
    """

    transformations: tuple[Transformation, ...] = ()
    codec: Compressor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all of it, in order."""
        codec = () if self.codec is None else (self.codec.name,)
        return (*(each.name for each in self.transformations), *codec)

    @property
    def is_lossless(self) -> bool:
        """Whether receivers get each row unchanged."""
        return not self.transformations and self.codec in (None, FLOAT32)

    @property
    def mask(self) -> SharedMask | None:
        """The mask, if there is one."""
        return next((each for each in self.transformations if isinstance(each, SharedMask)), None)

    @property
    def noise(self) -> tuple[GaussianNoise, ...]:
        """All noise that is added."""
        return tuple(each for each in self.transformations if isinstance(each, GaussianNoise))

    def with_codec(self, codec: Compressor | None) -> Pipeline:
        """The same with another codec, unless that is None."""
        return self if codec is None else replace(self, codec=codec)

    def width(self, size: int) -> int:
        """How many of a row's ``size`` numbers are written."""
        for each in self.transformations:
            size = each.width(size)
        return size

    def payload_bytes(self, size: int) -> int:
        """Bytes of the payload of a row of ``size`` numbers."""
        return (self.codec or FLOAT32).payload_bytes(self.width(size))

    def effects(self, size: int) -> list[tuple[str, Effect]]:
        """The effect of each part on rows of ``size`` numbers, with its name, in order."""
        effects = []
        for each in self.transformations:
            effects.append((each.name, each.effect(size)))
            size = each.width(size)
        if self.codec is not None:
            contraction = self.codec.contraction(size)
            relative = float("inf") if contraction is None else 1 - contraction
            effects.append((self.codec.name, Effect(unbiased=self.codec.unbiased, relative=relative)))
        return effects

    def transform(self, rows: Tensor, draws: Draws, *, row: int = 0) -> Tensor:
        """Rows ``[B, size]`` as passed to the codec, ``[B, width]``.

        Parameters
        ----------
        rows : Tensor
        draws : Draws
        row : int
            Index of these rows among several in a message: each draws independently.
        """
        for place, each in enumerate(self.transformations, start=1 + row * len(self.transformations)):
            rows = each.apply(rows, replace(draws, keys=rekeyed(draws.keys, place)))
        return rows

    def decoded(self, rows: Tensor, draws: Draws) -> Tensor:
        """Rows ``[B, size]`` as receivers decode them, ``[B, width]``."""
        transformed = self.transform(rows, draws)
        return transformed if self.codec is None else self.codec.compress(transformed, keys=draws.keys)

    def columns(self, size: int, draws: Draws) -> Tensor | None:
        """Which of a row's ``size`` numbers are written, int64 ``[width]``; None if all are."""
        return None if self.mask is None else self.mask.columns(size, draws)


def restored(own: Tensor, arrived: Tensor, columns: Tensor | None) -> Tensor:
    """Put received numbers back into rows: those not sent are the receiver's own.

    Parameters
    ----------
    own : Tensor
        Shape ``[..., size]``.
    arrived : Tensor
        Shape ``[..., width]``.
    columns : Tensor, optional
        Their positions, int64 ``[width]``; None if all numbers arrived.
    """
    if columns is None:
        return arrived
    return own.index_copy(-1, columns, arrived)


IN_FULL = Pipeline()
"""Rows as they are."""
