"""Noise of a linear run's sources: how much each has, how far a participant moves it, and who knows it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.privacy.row_space import Floats

__all__ = ["SourceNoise"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SourceNoise:
    """What S sources of a run are: private values, with noise of their own or without, and noise alone.

    Parameters
    ----------
    deviations : ndarray
        Standard deviation of the Gaussian noise of each, independent of all others, ``[S]``.
    sensitivities : ndarray
        How far its owner's data move each, in the same unit, ``[S]``; 0 for noise alone.
    also_known : ndarray
        The node besides its owner that knows each, int64 ``[S]``; -1 if there is none.
    groups : ndarray
        Which values of one owner the same data move: those with the same number, int64 ``[S]``.
    sequences : ndarray
        Which values of one owner are of one sequence of training steps, int64 ``[S]``.
    """

    deviations: Floats
    sensitivities: Floats
    also_known: Ints
    groups: Ints
    sequences: Ints

    @classmethod
    def of_sources(
        cls, private: Sequence[bool], also_known: Sequence[int], sequences: Sequence[int]
    ) -> SourceNoise:
        """Private values that have no noise of their own as yet, and standard normals."""
        values = np.array(private, dtype=np.float64)
        return cls(
            deviations=1 - values,
            sensitivities=values,
            also_known=np.array(also_known, dtype=np.int64),
            groups=np.zeros(len(values), dtype=np.int64),
            sequences=np.array(sequences, dtype=np.int64),
        )

    @property
    def private(self) -> NDArray[np.bool_]:
        """Which sources are private values, bool ``[S]``."""
        private: NDArray[np.bool_] = self.sensitivities > 0
        return private

    def known_to(self, owners: Ints, nodes: Collection[int]) -> NDArray[np.bool_]:
        """Which sources some nodes know, of so many with these owners: bool ``[S]``."""
        who = np.array(sorted(nodes), dtype=np.int64)
        known: NDArray[np.bool_] = np.isin(owners, who) | np.isin(self.also_known, who)
        return known
