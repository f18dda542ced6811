"""Noise that algorithms in rounds add: of a node's own, and of links, which both ends draw alike."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.codecs.draws import exchange_keys, normals, rekeyed
from gossipfl.privacy.correlated import edge_noise

if TYPE_CHECKING:
    from gossipfl.algorithms.exchanges import Links

__all__ = [
    "NoisyValues",
    "PrivateRounds",
    "RoundNoise",
    "SeededNoise",
    "clipped",
    "draws_in_secret",
    "shared_noise",
    "shares_secret_noise",
]

_OWN, _EDGE = 11, 12
_BITS = 20  # of a deviation in units


class RoundNoise(ABC):
    """Noise of B nodes in one round. Each purpose is drawn once a round."""

    @abstractmethod
    def own(self, width: int, *, purpose: int = 0) -> Tensor:
        """Draw independent standard normals for each node, float64 ``[B, width]``."""

    @abstractmethod
    def edge(self, first: int, second: int, width: int, *, purpose: int = 0) -> Tensor:
        """Draw standard normals that two nodes share, the smaller number first: float64 ``[width]``."""

    def cancelling(self, numbers: Tensor, links: Links, *, width: int, deviation: float) -> Tensor:
        """Draw noise of this deviation for each link, plus at one end and minus at the other: ``[B, width]``.

        It is in whole multiples of a unit, so over all nodes it sums to zero exactly.
        """
        whole, unit = shared_noise(self, numbers, links, width=width, deviation=deviation)
        return whole.to(torch.float64) * unit

    def released(
        self, values: Tensor, *, deviation: float, clip: float | None = None, purpose: int = 0
    ) -> Tensor:
        """Return values ``[B, D]`` shortened to a norm, plus noise of this deviation on each number."""
        values = values if clip is None else clipped(values, clip)
        noise = self.own(values.shape[1], purpose=purpose).mul_(deviation)
        return (values.to(torch.float64) + noise.to(values.device)).to(values.dtype)


@runtime_checkable
class PrivateRounds(Protocol):
    """An algorithm whose rounds are Gaussian mechanisms of the nodes' gradients."""

    epsilon: float | None
    delta: float
    deviation: float

    @property
    def noise_multiplier(self) -> float:
        """Deviation of a node's own noise over the most that its gradient changes by."""
        ...

    def shifts(self, linked: NDArray[np.bool_], *, colluding: int | None = None) -> NDArray[np.float64]:
        """Largest μ of each node's gradient in one round on a graph, to so many that collude, ``[n]``."""
        ...


class NoisyValues:
    """An algorithm that adds noise to nodes' values once, in its first round, and then mixes them.

    Attributes
    ----------
    deviation : float
        Of the noise on each number; 0 for none.
    clip : float or None
        Largest norm of a value before the noise.
    """

    __slots__ = ()
    deviation: float
    clip: float | None


def shares_secret_noise(algorithm: object) -> bool:
    """Whether peers share noise with neighbours that nobody else can draw."""
    return draws_in_secret(algorithm) and bool(getattr(algorithm, "edge_deviation", 0.0))


def draws_in_secret(algorithm: object) -> bool:
    """Whether peers draw noise for an algorithm that nobody else can draw: by its parameter ``secret``."""
    return bool(getattr(algorithm, "secret", False))


@dataclass(frozen=True, slots=True)
class SeededNoise(RoundNoise):
    """Noise as (seed, round, node) or (seed, round, link) determine: for simulations, trials and rehearsals.

    Parameters
    ----------
    seed, round_number : int
    numbers : Tensor
        Of the B nodes in the network, int64 ``[B]``.
    """

    seed: int
    round_number: int
    numbers: Tensor

    def own(self, width: int, *, purpose: int = 0) -> Tensor:
        """Draw for each node; see `RoundNoise`."""
        drawn: Tensor = normals(self._keys(self.numbers, _OWN, purpose), width)
        return drawn

    def edge(self, first: int, second: int, width: int, *, purpose: int = 0) -> Tensor:
        """Draw for a link; see `RoundNoise`."""
        numbers = torch.tensor([(first << 31) + second])
        drawn: Tensor = normals(self._keys(numbers, _EDGE, purpose), width)
        first_row: Tensor = drawn[0]
        return first_row

    def _keys(self, numbers: Tensor, kind: int, purpose: int) -> Tensor:
        keys = exchange_keys(numbers, seed=self.seed, round_number=self.round_number)
        return rekeyed(rekeyed(keys, kind), purpose)


def clipped(rows: Tensor, norm: float) -> Tensor:
    """Rows ``[B, D]`` shortened to a largest Euclidean norm."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    shortened: Tensor = rows * (norm / (norms + 1e-12)).clamp(max=1)
    return shortened


def shared_noise(
    noise: RoundNoise, numbers: Tensor, links: Links, *, width: int, deviation: float
) -> tuple[Tensor, float]:
    """Noise of nodes' links, in whole multiples of a unit; over all nodes it sums to zero exactly.

    Parameters
    ----------
    noise : RoundNoise
    numbers : Tensor
        Numbers of the B nodes, int64 ``[B]``.
    links : Links
        Their ends.
    width : int
    deviation : float
        σ_c, above 0.

    Returns
    -------
    noise : Tensor
        int64 ``[B, width]``.
    unit : float
        A power of two.
    """
    unit = 2.0 ** (math.ceil(math.log2(deviation)) - _BITS)
    total = torch.zeros(len(numbers), width, dtype=torch.int64)
    neighbours = links.neighbours.cpu()
    for place, number in enumerate(numbers.tolist()):
        around = neighbours[(links.owner == place).cpu()].tolist()
        if around:
            normals = partial(_of_edge, noise, width)
            total[place] = edge_noise(number, around, normals, deviation=deviation, unit=unit)
    return total, unit


def _of_edge(noise: RoundNoise, width: int, first: int, second: int) -> Tensor:
    return noise.edge(first, second, width)
