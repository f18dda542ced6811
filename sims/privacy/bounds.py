"""Bounds on losses where rows are changed after their noise, and not linearly: what holds whatever follows it.

A codec, a mask or a clip that comes after noise works on what has noise already, and can only hide more of it
(post-processing; Dwork and Roth 2014, proposition 2.1). What others make of it, and send back, is known to whoever
knows all that the others know. So a node's loss to all others together is at most that of the linear run, to one
who sees each row that the node sends, as it was before it was changed, and knows all that the others have. And a
row that was clipped to the norm C before noise of deviation σ is a Gaussian mechanism of μ = 2C/σ, whatever it
was computed from. Both hold for any one node that observes, and for all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gossipfl.privacy.factorised import sensitivities
from sims.privacy.conditioning import View, view_of
from sims.privacy.errors import NotAccountable
from sims.privacy.leaving import Leaving
from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.row_space import Floats
from sims.privacy.value_noise import ValueNoise, with_noise_on_values

__all__ = ["Bound", "bound_of", "rows_sent", "square_shift_of_sent"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Losses that are bounded from above.

    Parameters
    ----------
    squares : ndarray
        μ² of each node at most, to all others together, ``[nodes]``.
    after : tuple of str
        What rows go through after their noise, or before it.
    """

    squares: Floats
    after: tuple[str, ...]

    def view(self, run: LinearRun, observers: Collection[int]) -> View:
        """What observers may know at most: nothing of nodes from which nothing could arrive."""
        reached = np.zeros(len(self.squares), dtype=bool)
        for observer in observers:
            reached |= run.distances_to(observer)[: len(reached)] >= 0
        losses = np.where(reached, self.squares, 0.0)
        told = [each for each in observers if each < len(losses)]
        losses[told] = np.inf  # they know their own values
        return View(losses=losses, computed=np.isinf(losses))


def bound_of(
    run: LinearRun, leaving: Leaving, values: ValueNoise | None, *, rows: Ints | None = None
) -> Bound:
    """Bound the losses of all nodes.

    Parameters
    ----------
    run : LinearRun
        With the noise that comes before all that is not linear, and without noise on values.
    leaving : Leaving
    values : ValueNoise, optional
        None if nobody knows how far data move values.
    rows : ndarray, optional
        How many rows each node sends, int64 ``[nodes]``; needed if each is a mechanism of its own.

    Raises
    ------
    NotAccountable
        If there is no noise before that, and none after a clip.
    """
    nodes = range(run.nodes)
    squares = np.full(run.nodes, np.inf)
    if values is not None and leaving.masked:
        squares = np.array([_of_values(run, values, node) for node in nodes])
    elif values is not None:
        noisy = with_noise_on_values(run, values, in_units=False)
        squares = np.array([square_shift_of_sent(noisy, node) for node in nodes])
    if rows is not None and math.isfinite(leaving.row_shift):
        squares = np.minimum(squares, rows * leaving.row_shift**2)
    if np.isinf(squares[run.counts > 0]).all():
        raise NotAccountable(
            "rows are changed before they leave, and nothing bounds what they tell then",
            expected="noise before that which hides all of a value, or after a clip",
            got=", ".join(leaving.changes),
            remedy="Put a clip and noise before it, or noise on values ([training.privacy], an algorithm's own).",
        )
    return Bound(squares=squares, after=leaving.changes)


def square_shift_of_sent(run: LinearRun, node: int) -> float:
    """μ² of a node to whoever sees each row that it sends, and knows everything of the others.

    Parameters
    ----------
    run : LinearRun
        With `LinearRun.noise`.
    node : int
    """
    assert run.noise is not None  # noqa: S101 - the caller's part
    own = run.owners == node
    known: dict[int, Stage] = {}
    for stage in run.stages:
        if id(stage) not in known:
            sent = stage.senders == node
            known[id(stage)] = replace(
                stage,
                observed=csr_array(stage.observed[sent]),
                senders=np.zeros(int(sent.sum()), dtype=np.int64),
                receivers=np.ones(int(sent.sum()), dtype=np.int64),
                needed=None,
                holders=None,
            )
    shared = np.where((run.noise.also_known >= 0) & own, 1, -1)
    alone = replace(
        run,
        nodes=2,
        owners=np.where(own, 0, 1),
        stages=[known[id(stage)] for stage in run.stages],
        noise=replace(run.noise, also_known=shared),
    )
    return float(view_of(alone, [1]).losses[0])


def rows_sent(run: LinearRun) -> Ints:
    """How many different rows of each node arrived anywhere, int64 ``[nodes]``.

    Parameters
    ----------
    run : LinearRun
        With noise on each row that leaves, so that no two of them are alike.
    """
    counts = np.zeros(run.nodes, dtype=np.int64)
    for stage in run.stages:
        alone = np.ones(len(stage.senders), dtype=bool) if stage.needed is None else stage.needed > 0
        rows = stage.observed
        ends = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
        different = {
            (int(sender), rows.indices[first:last].tobytes(), rows.data[first:last].tobytes())
            for sender, (first, last), counted in zip(stage.senders, ends, alone, strict=True)
            if counted
        }
        for sender, _, _ in different:
            counts[sender] += 1
    return counts


def _of_values(run: LinearRun, values: ValueNoise, node: int) -> float:
    """μ² of a node to whoever sees all its noisy values."""
    count, deviation = int(run.counts[node]), float(values.deviations[node])
    if not count:
        return 0.0
    if not deviation:
        return math.inf
    apart = 1 if values.apart is None else int(values.apart[node])
    each = (float(values.sensitivities[node]) / deviation) ** 2
    if values.bands == 1:
        return each * (count if values.apart is None else math.ceil(count / apart))
    return each * float(np.square(sensitivities(values.bands, apart=apart, steps=count)).sum())
