"""Knowledge of the observers of a linear run: their exact share in each value.

Let each value x have Gaussian noise of deviation σ, and let all that is sent be linear in the noisy values. An
observer that has received the rows B, those of its own values included, has seen B(x + σz). A change of x_u by Δ
shifts that by Δ B e_u, so its loss about u is that of a Gaussian mechanism with ``μ² = (Δ/σ)² [B⁺B]_uu``, exactly:
the share [B⁺B]_uu of what the noisy value itself would give away (Bellet et al. 2026, arXiv 2510.17480). The share
is 1 where e_u is in the row space of B: then the noisy value can be computed from what was seen (Mrini et al.
2024). It is 0 where nothing of the value arrived.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.row_space import Floats, RowSpace, orthonormal_rows

__all__ = ["Knowledge", "knowledge_of"]

Ints = NDArray[np.int64]

_RECONSTRUCTED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What a coalition of observers has learned of all values.

    Parameters
    ----------
    run : LinearRun
    observers : tuple of int
    space : RowSpace
        The row space of B, their own values included.
    """

    run: LinearRun
    observers: tuple[int, ...]
    space: RowSpace

    @property
    def rank(self) -> int:
        """Rank of B."""
        return self.space.rank

    def shares(self) -> Floats:
        """``[B⁺B]_uu`` for each value u, ``[V]``: the loss relative to that of the noisy value itself."""
        return self.space.projector_diagonal()

    def reconstructed(self) -> NDArray[np.bool_]:
        """Which noisy values the observers can compute, ``[V]``: those with a unit vector in the row space."""
        reconstructed: NDArray[np.bool_] = self.shares() > 1 - _RECONSTRUCTED
        return reconstructed

    def computed(self) -> NDArray[np.bool_]:
        """Of which nodes all noisy values can be computed, bool ``[nodes]``."""
        owners, nodes = self.run.owners, self.run.nodes
        hidden = np.bincount(owners, weights=~self.reconstructed(), minlength=nodes)
        computed: NDArray[np.bool_] = (hidden == 0) & (np.bincount(owners, minlength=nodes) > 0)
        return computed

    def losses(self) -> Floats:
        """Square of the largest shift of the view that each node can cause, in units of (Δ/σ)², ``[nodes]``.

        For a node with one value that is its share. Where a node has several, each may change by Δ: the square is
        at most Σ|P_st| over its values s, t, with the entries P_st of B⁺B, and at most their number. The former is
        reached where the values are single numbers and no entry is negative.
        """
        owners = self.run.owners
        counts = np.bincount(owners, minlength=self.run.nodes)
        if counts.max(initial=0) <= 1:
            single: Floats = np.zeros(self.run.nodes)
            single[owners] = self.shares()
            return single
        order = np.argsort(owners, kind="stable")
        values = np.split(order, np.cumsum(counts)[:-1])
        shifts = [np.abs(self.space.projector_block(own)).sum() if len(own) else 0.0 for own in values]
        losses: Floats = np.minimum(np.array(shifts), counts.astype(np.float64))
        return losses


def knowledge_of(run: LinearRun, observers: Collection[int]) -> Knowledge:
    """Find the row space of all that the observers see, and of their own values.

    Parameters
    ----------
    run : LinearRun
    observers : collection of int
        One node, or several that collude.

    Raises
    ------
    NotAccountable
        An observer is not a node of the run.
    """
    run.require_nodes(observers)
    coalition = np.unique(np.array(sorted(observers), dtype=np.int64))
    own = np.isin(run.owners, coalition)
    space = _own_values(own)
    if run.period is not None:
        _add_repeated(run, run.period, coalition, space)
    elif not _add_forwards(run, coalition, space):
        space = _own_values(own)
        space.add(_seen_backwards(run, coalition, own))
    return Knowledge(run=run, observers=tuple(coalition.tolist()), space=space)


def _own_values(own: NDArray[np.bool_]) -> RowSpace:
    space = RowSpace(len(own))
    units = np.zeros((int(own.sum()), len(own)))
    units[np.arange(len(units)), np.flatnonzero(own)] = 1.0
    space.add(units)
    return space


def _seen(stage: Stage, coalition: Ints) -> csr_array:
    return stage.seen_by(coalition.tolist())


def _add_repeated(run: LinearRun, period: int, coalition: Ints, space: RowSpace) -> None:
    """Add what is seen where stages repeat, as block Krylov spaces: only what is new is carried on.

    With Φ a period's transition and S what is known so far, S Φ is known a period later, so of the rows D Φᵏ of a
    phase only the part outside S need be multiplied by Φ again (Arnoldi 1951). That is stable; the rows themselves
    soon all point to the mean.
    """
    stages = run.stages[1 : 1 + period]

    def back(rows: Floats, phase: int) -> Floats:
        for stage in reversed(stages[:phase]):
            rows = rows @ stage.transition
        return rows

    carried: list[Floats] = []
    for stage_number, stage in enumerate(run.stages[1:]):
        phase = stage_number % period
        if stage_number < period:
            carried.append(space.add(back(_seen(stage, coalition).toarray(), phase)))
            continue
        if not any(len(each) for each in carried):
            return
        if len(carried[phase]):
            carried[phase] = space.add(back(carried[phase], period))


def _add_forwards(run: LinearRun, coalition: Ints, space: RowSpace) -> bool:
    """Add the rows that are seen, one stage after another; False as soon as rounding hides whether one is new."""
    return all(space.add_if_clear(rows) for rows in run.messages(coalition) if len(rows))


def _seen_backwards(run: LinearRun, coalition: Ints, own: NDArray[np.bool_]) -> Floats:
    """Rows that span what is seen, own values left out, from the last stage to the first.

    What is known at the end of a stage, as functions of the state there, is carried to its beginning through its
    transition alone, made orthonormal, and joined by what is seen in the stage. So rows are never multiplied by
    several matrices without being separated again: products of mixing matrices tend to a matrix of rank one.
    """
    last = int(run.stages[-1].transition.shape[0])
    state, values = np.zeros((0, last)), np.zeros((0, len(own)))
    everything = False  # whether the rows span all functions of the state
    for stage in reversed(run.stages):
        if everything and stage.keeps_all and not values.any():
            continue
        width, seen = stage.width, _seen(stage, coalition)
        carried = np.vstack([state @ stage.transition, seen.toarray()])
        values = np.vstack([values, np.zeros((seen.shape[0], len(own)))])
        values[:, stage.values] = carried[:, width:]
        values[:, own] = 0.0
        state, values = _separated(carried[:, :width], values)
        everything = len(state) == width and not values.any()
        if everything:
            state = np.eye(width)
    return values


def _separated(state: Floats, values: Floats) -> tuple[Floats, Floats]:
    rows = np.hstack([state, values])
    columns = np.flatnonzero(rows.any(axis=0))
    narrow = orthonormal_rows(rows[:, columns])
    whole = np.zeros((len(narrow), rows.shape[1]))
    whole[:, columns] = narrow
    width = state.shape[1]
    return whole[:, :width], whole[:, width:]
