"""Loss of each value to a view of a run with any Gaussian noise: the state of the run, given all that was seen.

What is seen is ``B g + C z`` with the values g and independent standard normals z. A change of one participant's
values by δ shifts it by B δ, so its loss is that of a Gaussian mechanism with ``μ² = δᵀ Bᵀ (C Cᵀ)⁺ B δ``; it is
infinite if Bδ is outside the range of C, that is, if something of the values is seen without noise. Rows are seen
one stage after another, so the quadratic form is a sum over innovations: of each row, what those before it did not
tell (Kalman 1960; in square-root form, Potter 1963). Of all noise only what is left in the run's state is kept, so
memory does not grow with the number of sources.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular
from scipy.sparse import csr_array, vstack

from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.row_space import Floats
from sims.privacy.source_noise import SourceNoise

__all__ = ["View", "view_of"]

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_ROUNDING = 1e-12
"""Size, relative to that of what it was computed from, below which a result is taken for rounding."""

_NO_NOISE = 1e-11
"""Length of a row's noise, relative to that before what is known was taken off, below which it has none."""

_NO_SHIFT = 1e-9
"""The same for the shift of a row without noise."""

_COMPUTED = 1e-9
_RETIRED = 1e-15  # of what a value once moved


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What observers know of all nodes.

    Parameters
    ----------
    losses : ndarray
        μ² of each node, ``[nodes]``; infinite where something of it is seen without noise.
    computed : ndarray
        Of which nodes every value is seen with its own noise alone, or with none, bool ``[nodes]``.
    """

    losses: Floats
    computed: Mask


def view_of(run: LinearRun, observers: Collection[int]) -> View:
    """Account for what observers see of a run whose sources have noise of any kind.

    Parameters
    ----------
    run : LinearRun
        With `LinearRun.noise`.
    observers : collection of int
        Nodes that put together what they know: their own sources, and what they received.

    Raises
    ------
    NotAccountable
        An observer is not a node of the run.
    """
    assert run.noise is not None  # noqa: S101 - the caller's reason to call
    run.require_nodes(observers)
    known = run.noise.known_to(run.owners, observers)
    state = _State(
        run, np.where(known, 0.0, run.noise.deviations), np.where(known, 0.0, run.noise.sensitivities)
    )
    for stage in run.stages:
        state.advance(stage, _different(stage.seen_by(observers)))
    view = state.told(run.noise)
    told = list(observers)
    view.losses[told], view.computed[told] = np.inf, True  # they know their own values
    return view


class _State:
    """The run's state given what was seen: its noise as a factor, and how far values move what is not known."""

    def __init__(self, run: LinearRun, deviations: Floats, sensitivities: Floats) -> None:
        self._run, self._deviations, self._sensitivities = run, deviations, sensitivities
        self._noise = np.zeros((0, 0))  # [m, c]: times its transpose, the covariance of the state
        self._shift = np.zeros((0, 0))  # [m, v]
        self._values = np.zeros(0, dtype=np.int64)  # the sources of the columns of the shift
        self._reach = np.zeros(0)  # the largest entry that each of these columns had
        self._told: list[csr_array] = []
        self._bare = np.zeros(len(deviations), dtype=bool)

    def advance(self, stage: Stage, seen: csr_array) -> None:
        """Go through a stage, of which some rows are seen."""
        self._enter(stage)
        if seen.shape[0] and (self._noise.size or self._shift.size):
            self._condition(seen)
        transition, sizes = stage.transition, abs(stage.transition)
        scales = sizes @ np.linalg.norm(self._noise, axis=1)
        self._noise = transition @ self._noise
        self._noise[np.linalg.norm(self._noise, axis=1) <= _ROUNDING * scales] = 0.0
        before = sizes @ np.abs(self._shift)
        self._shift = transition @ self._shift
        self._shift[np.abs(self._shift) <= _ROUNDING * before] = 0.0
        self._compress()

    def _enter(self, stage: Stage) -> None:
        numbers = stage.values
        noisy = np.flatnonzero(self._deviations[numbers])
        moved = np.flatnonzero(self._sensitivities[numbers])
        self._noise = _extended(self._noise, len(numbers), noisy, self._deviations[numbers[noisy]])
        self._shift = _extended(self._shift, len(numbers), moved, self._sensitivities[numbers[moved]])
        self._values = np.concatenate([self._values, numbers[moved]])
        self._reach = np.concatenate([self._reach, self._sensitivities[numbers[moved]]])

    def _condition(self, seen: csr_array) -> None:
        """Add what rows tell, and take it off the state."""
        sizes = abs(seen)
        scales = sizes @ np.linalg.norm(self._noise, axis=1)
        moves = sizes @ np.abs(self._shift)
        rows, shifts = seen @ self._noise, seen @ self._shift
        shifts[np.abs(shifts) <= _ROUNDING * moves] = 0.0
        scales[scales == 0] = 1.0
        rows, shifts, moves = rows / scales[:, None], shifts / scales[:, None], moves / scales[:, None]
        directions, triangle, order, rank = _factored(rows)
        shifts, moves, scales = shifts[order], moves[order], scales[order]
        whitened = (
            solve_triangular(triangle[:rank, :rank].T, shifts[:rank], lower=True) if rank else shifts[:0]
        )
        rest = triangle[:rank, rank:].T @ whitened
        bare = shifts[rank:] - rest
        allowed = _NO_SHIFT * (moves[rank:] + np.abs(rest)) + _ROUNDING * self._reach / scales[rank:, None]
        self._bare[self._values[(np.abs(bare) > allowed).any(axis=0)]] = True
        if not rank:
            return
        self._tell(whitened)
        known = (self._noise @ directions.T) @ whitened
        before = np.abs(self._shift) + np.abs(known)
        self._shift = self._shift - known
        self._shift[np.abs(self._shift) <= _ROUNDING * before] = 0.0
        lengths = np.linalg.norm(self._noise, axis=1)
        for _ in range(2):  # the first projection leaves rounding behind (Kahan and Parlett)
            self._noise = self._noise - (self._noise @ directions.T) @ directions
        self._noise[np.linalg.norm(self._noise, axis=1) <= _ROUNDING * lengths] = 0.0

    def _tell(self, whitened: Floats) -> None:
        narrow = csr_array(whitened).tocoo()
        shape = (len(whitened), len(self._bare))
        self._told.append(csr_array((narrow.data, (narrow.row, self._values[narrow.col])), shape=shape))

    def _compress(self) -> None:
        height, width = self._noise.shape
        used = self._noise.any(axis=0)
        if not used.all():
            self._noise = self._noise[:, used]
            width = self._noise.shape[1]
        if width > 3 * height + 16:
            (triangle,) = qr(self._noise.T, mode="r", check_finite=False)
            self._noise = np.ascontiguousarray(triangle[:height].T)
        size = np.abs(self._shift).max(axis=0, initial=0.0)
        self._reach = np.maximum(self._reach, size)
        kept = size > _RETIRED * self._reach
        if not kept.all():
            self._shift, self._values, self._reach = (
                self._shift[:, kept],
                self._values[kept],
                self._reach[kept],
            )

    def told(self, noise: SourceNoise) -> View:
        """What all of it tells of each node."""
        nodes, owners = self._run.nodes, self._run.owners
        losses, computed = np.zeros(nodes), np.zeros(nodes, dtype=bool)
        told = vstack(self._told, format="csc") if self._told else csr_array((0, len(owners))).tocsc()
        own = np.full(len(owners), np.inf)
        noisy = noise.deviations > 0
        own[noisy] = np.square(noise.sensitivities[noisy] / noise.deviations[noisy])
        for node in range(nodes):
            values = np.flatnonzero((owners == node) & noise.private)
            if not len(values):
                continue
            part = told[:, values]
            squares = np.asarray(part.multiply(part).sum(axis=0)).ravel()
            bare = self._bare[values]
            computed[node] = bool((bare | (squares >= own[values] * (1 - _COMPUTED))).all())
            losses[node] = _worst(part, bare, own[values], noise.groups[values])
        return View(losses=losses, computed=computed)


def _worst(told: csr_array, bare: Mask, own: Floats, groups: Ints) -> float:
    """Square of the largest shift by values of one group that may each be moved: at most Σ|M_st|.

    It is no more than what all values with their own noise alone would give away.
    """
    if bare.any():
        return float(np.inf)
    worst = 0.0
    for group in np.unique(groups):
        among = np.flatnonzero(groups == group)
        part = told[:, among]
        both = float(abs(part.T @ part).sum())
        worst = max(worst, min(both, float(own[among].sum())))
    return worst


def _extended(kept: Floats, below: int, places: Ints, entries: Floats) -> Floats:
    """A matrix with so many more rows, which have new columns with one entry each, at these places."""
    height, width = kept.shape
    wider = np.zeros((height + below, width + len(places)))
    wider[:height, :width] = kept
    wider[height + places, width + np.arange(len(places))] = entries
    return wider


def _factored(rows: Floats) -> tuple[Floats, Floats, Ints, int]:
    """Orthonormal directions of rows, their triangle, the rows' order, and how many have noise of their own."""
    if not rows.size:
        return np.zeros((0, rows.shape[1])), np.zeros((0, len(rows))), np.arange(len(rows)), 0
    q, r, order = qr(rows.T, mode="economic", pivoting=True, check_finite=False)
    rank = int((np.abs(np.diagonal(r)) > _NO_NOISE).sum())
    return np.ascontiguousarray(q[:, :rank].T), r, order.astype(np.int64), rank


def _different(rows: csr_array) -> csr_array:
    """The rows without repetitions, as when several nodes receive the same one."""
    known: dict[tuple[bytes, bytes], int] = {}
    for number in range(rows.shape[0]):
        part = slice(rows.indptr[number], rows.indptr[number + 1])
        known.setdefault((rows.indices[part].tobytes(), rows.data[part].tobytes()), number)
    return rows if len(known) == rows.shape[0] else rows[list(known.values())]
