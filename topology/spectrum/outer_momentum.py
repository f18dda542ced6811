"""Outer momentum and disagreement: by which factor second moments shrink or grow in a round."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topology.bounds import check_number
from topology.errors import InvalidParameter, TooLarge
from topology.sequences.sequence import MixingSequence
from topology.spectrum.eigen import DENSE_NODES, eigenvalues
from topology.spectrum.outer_sampled import sampled_factors

__all__ = [
    "OuterStep",
    "fastest_outer_rate",
    "largest_outer_rate",
    "outer_consensus_factor",
    "outer_moments",
    "recommended_outer_step",
]

_Floats = npt.NDArray[np.float64]

HALVED_IN_TWO = float(np.sqrt(0.5))
"""Factor a round with which disagreement halves in two rounds."""

_LARGEST_PERIODIC = 256
_ROUNDS_SAMPLED = 16
_MOMENTA = np.arange(0, 100, 5) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterStep:
    """An outer step of a topology.

    Attributes
    ----------
    rate, momentum : float
        η and μ.
    factor : float
        By which the mean square of disagreement changes in a round.
    progress : float
        η/(1 − μ): how far the mean model goes in the end, in units of what nodes learn in a round.
    """

    rate: float
    momentum: float
    factor: float

    @property
    def progress(self) -> float:
        """η/(1 − μ)."""
        return self.rate / (1 - self.momentum)


def outer_moments(rate: float, momentum: float, *, mean: float, square: float | None = None) -> _Floats:
    """Return the map of second moments of disagreement and outer momentum over a random round, float64 [3, 3].

    Slow weights φ, with what deviates from their mean, and momenta m go ``m⁺ = μ m − η (I − W) φ``, ``φ⁺ = φ +
    m⁺``, where ``E[I − W] = mean · (I − J)`` and ``E[(I − W)ᵀ(I − W)] = square · (I − J)``. Then V = E|φ|²,
    C = E⟨φ, m⟩ and M = E|m|² go to

    * ``M⁺ = μ² M − 2 μ η mean C + η² square V``,
    * ``C⁺ = D + M⁺`` and ``V⁺ = V + 2 D + M⁺`` with ``D = μ C − η mean V``.

    Parameters
    ----------
    rate, momentum : float
        η, above 0, and μ, from 0 to below 1: of `noloco` with η_φ = η, of `gasloc` with η = α and μ = γ.
    mean : float
        For matchings of an even number n of nodes, all equally likely, n/(2(n − 1)).
    square : float, optional
        Equal to `mean` unless given, as for matchings, whose matrices are projections.

    Raises
    ------
    InvalidParameter
        If `rate` or `momentum` is out of range.

    References
    ----------
    Of the outer step: Kolehmainen et al., "NoLoCo", arXiv 2506.10911, 2025, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from topology import spectrum
    >>> moments = spectrum.outer_moments(0.7, 0.9, mean=8 / 14)
    >>> round(float(np.abs(np.linalg.eigvals(moments)).max()), 6)
    1.071766
    """
    eta, mu = _checked(rate, momentum)
    square = mean if square is None else square
    M = np.array([eta**2 * square, -2 * mu * eta * mean, mu**2])
    D = np.array([-eta * mean, mu, 0.0])
    return np.array([np.array([1.0, 0, 0]) + 2 * D + M, D + M, M])


def outer_consensus_factor(sequence: MixingSequence, rate: float, momentum: float) -> float:
    """Return by which factor the mean square of disagreement changes in a round, in the long run.

    Parameters
    ----------
    sequence : MixingSequence
        One matrix; a period of them; random matrices that treat all nodes alike, as uniform matchings do; or
        other random ones, over which the factor is estimated (`topology.spectrum.outer_sampled`).
    rate, momentum : float
        η and μ, as for `outer_moments`.

    Raises
    ------
    InvalidParameter
        If `rate` or `momentum` is out of range, or the sequence's random matrices are not doubly stochastic.
    TooLarge
        If it is periodic and has more than 256 nodes, or 1,024 with one matrix.

    Notes
    -----
    Of one matrix, each eigenvalue λ of I − W gives the roots of ``z² − (1 + μ − ηλ) z + μ``, and the factor is the
    largest |z|²: with real λ it is below 1 while ηλ < 2(1 + μ). Matrices drawn at random add noise that momentum
    keeps: over uniform matchings of four nodes and more, η = 0.7 and μ = 0.9 diverge.
    """
    return _factors_of(sequence)(*_checked(rate, momentum))


def fastest_outer_rate(sequence: MixingSequence, momentum: float) -> OuterStep:
    """Return the outer step of this momentum whose disagreement shrinks fastest; η is found to 1e-6.

    Raises
    ------
    InvalidParameter, TooLarge
        As `outer_consensus_factor`.
    """
    return _fastest(_factors_of(sequence), check_number("momentum", momentum, ge=0, lt=1))


def largest_outer_rate(
    sequence: MixingSequence, momentum: float, *, within: float = 1.0, most: float = 2.0
) -> OuterStep | None:
    """Return the largest outer step of this momentum, up to `most`, if any, whose factor is below `within`.

    Raises
    ------
    InvalidParameter, TooLarge
        As `outer_consensus_factor`.
    """
    mu = check_number("momentum", momentum, ge=0, lt=1)
    return _largest(_factors_of(sequence), mu, within=within, most=check_number("most", most, gt=0))


def recommended_outer_step(sequence: MixingSequence, *, within: float = HALVED_IN_TWO) -> OuterStep | None:
    """Return the outer step with the most progress, η/(1 − μ) with η ≤ 1, whose factor is below `within`.

    Parameters
    ----------
    sequence : MixingSequence
    within : float
        By default disagreement has to halve in two rounds. Momenta are multiples of 0.05.

    Returns
    -------
    OuterStep or None
        None if no momentum of these is enough, not even none at all.

    Raises
    ------
    InvalidParameter, TooLarge
        As `outer_consensus_factor`.
    """
    factors = _factors_of(sequence)
    found = [_largest(factors, float(mu), within=within, most=1.0) for mu in _MOMENTA]
    return max((step for step in found if step is not None), key=lambda step: step.progress, default=None)


def _checked(rate: float, momentum: float) -> tuple[float, float]:
    return check_number("rate", rate, gt=0), check_number("momentum", momentum, ge=0, lt=1)


def _factors_of(sequence: MixingSequence) -> Callable[[float, float], float]:
    """The factor as a function of η and μ."""
    if sequence.n == 1:
        return lambda eta, mu: 0.0
    if sequence.period is None and sequence.expected_contraction is None and sequence.stochastic == "doubly":
        return (
            sampled_factors(sequence)
            if isinstance(sequence, Hashable)
            else sampled_factors.__wrapped__(sequence)
        )
    if sequence.period is None:
        mean, square = _random_pull(sequence)
        return lambda eta, mu: _radius(outer_moments(eta, mu, mean=mean, square=square))
    limit = DENSE_NODES if sequence.period == 1 else _LARGEST_PERIODIC
    if sequence.n > limit:
        raise TooLarge(
            "outer momentum needs all eigenvalues", expected=f"at most {limit} nodes", got=sequence.n
        )
    if sequence.period == 1:
        values = eigenvalues(sequence.matrix(0))
        pulls = 1 - np.delete(values, np.abs(values - 1).argmin())
        return lambda eta, mu: _of_one(pulls, eta, mu)
    apart = np.eye(sequence.n) - 1 / sequence.n
    turns = [apart @ (np.eye(sequence.n) - sequence.matrix(t).toarray()) for t in range(sequence.period)]
    return lambda eta, mu: _of_period(apart, turns, eta, mu)


def _fastest(factors: Callable[[float, float], float], mu: float) -> OuterStep:
    from scipy.optimize import minimize_scalar

    grid = np.linspace(0, 2 * (1 + mu), 41)
    best = 1 + int(np.argmin([factors(float(eta), mu) for eta in grid[1:-1]]))
    around = (float(grid[best - 1]), float(grid[best + 1]))
    found = minimize_scalar(
        lambda eta: factors(eta, mu), bounds=around, method="bounded", options={"xatol": 1e-7}
    )
    return OuterStep(rate=float(found.x), momentum=mu, factor=float(found.fun))


def _largest(
    factors: Callable[[float, float], float], mu: float, *, within: float, most: float
) -> OuterStep | None:
    start, end = min(_fastest(factors, mu).rate, most), most
    if factors(start, mu) >= within:
        return None
    if factors(end, mu) < within:
        start = end
    while end - start > 1e-6:
        middle = (start + end) / 2
        start, end = (middle, end) if factors(middle, mu) < within else (start, middle)
    return OuterStep(rate=start, momentum=mu, factor=factors(start, mu))


def _radius(matrix: _Floats) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def _of_one(pulls: npt.NDArray[np.complex128], eta: float, mu: float) -> float:
    trace = 1 + mu - eta * pulls.astype(np.complex128)
    root = np.sqrt(trace**2 - 4 * mu)
    return float(np.abs(np.concatenate((trace + root, trace - root)) / 2).max()) ** 2


def _of_period(apart: _Floats, turns: list[_Floats], eta: float, mu: float) -> float:
    state = np.eye(2 * len(apart))
    for pull in turns:
        state = np.block([[apart - eta * pull, mu * apart], [-eta * pull, mu * apart]]) @ state
    return float(_radius(state) ** (2 / len(turns)))


def _random_pull(sequence: MixingSequence) -> tuple[float, float]:
    """Coefficients of I − J in ``E[I − W]`` and ``E[(I − W)ᵀ(I − W)]``."""
    contraction = sequence.expected_contraction
    if contraction is None or sequence.stochastic != "doubly":
        raise InvalidParameter(
            f"how {sequence.name} acts on second moments is not known",
            expected="a graph, a periodic sequence, or a random one of doubly stochastic matrices",
            remedy="Take random_matching, or a sequence of a period",
        )
    own = np.mean([sequence.matrix(t).diagonal().mean() for t in range(_ROUNDS_SAMPLED)])
    mean = sequence.n * (1 - float(own)) / (sequence.n - 1)
    return mean, 2 * mean - 1 + contraction
