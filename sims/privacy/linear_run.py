"""Linear runs: states and messages, stage by stage, as linear functions of private values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, identity, vstack

from sims.privacy.errors import NotAccountable
from sims.privacy.row_space import Floats
from sims.privacy.source_noise import SourceNoise

__all__ = ["NOBODY", "LinearRun", "Stage", "averaging"]

Ints = NDArray[np.int64]

NOBODY: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a linear run.

    With s the state before it and v the values that enter in it, the state after it is A [s; v], and the rows that
    receivers see are C [s; v].

    Parameters
    ----------
    transition : csr_array
        A, float64 ``[m, p + k]``, for a state of p numbers before and m after it, and k values.
    observed : csr_array
        C, float64 ``[r, p + k]``: one row a message that arrived.
    senders, receivers : ndarray
        The nodes that sent and received each, int64 ``[r]``.
    values : ndarray
        Numbers of the values that enter, int64 ``[k]``.
    needed : ndarray, optional
        How many of a row's holders must be with its receiver to see it, int64 ``[r]``; 0, as everywhere by
        default, for rows that receivers see alone.
    holders : csr_array, optional
        Nodes that can together show a row to its receiver, ones and zeros ``[r, nodes]``; with ``needed``.
    """

    transition: csr_array
    observed: csr_array
    senders: Ints
    receivers: Ints
    values: Ints = field(default_factory=lambda: NOBODY)
    needed: Ints | None = None
    holders: csr_array | None = None

    @property
    def width(self) -> int:
        """Size of the state before the stage."""
        return int(self.transition.shape[1]) - len(self.values)

    def seen_by(self, observers: Collection[int]) -> csr_array:
        """Rows that observers see who put together what they have, ``[k, p + k]``."""
        who = np.array(sorted(observers), dtype=np.int64)
        seen = np.isin(self.receivers, who)
        if self.needed is not None and self.holders is not None:
            together = np.zeros(self.holders.shape[1])
            together[who[who < len(together)]] = 1.0
            seen &= self.holders @ together >= self.needed
        return csr_array(self.observed[seen])

    def with_values(self, state: Floats) -> Floats:
        """What is there before the stage, and what enters in it, as functions of all values, ``[p + k, V]``."""
        entering = np.zeros((len(self.values), state.shape[1]))
        entering[np.arange(len(self.values)), self.values] = 1.0
        return np.vstack([state, entering])

    @cached_property
    def keeps_all(self) -> bool:
        """Whether no value enters, and the state before the stage can be computed from the one after it."""
        from scipy.sparse.linalg import splu

        rows, columns = self.transition.shape
        if rows != columns or len(self.values):
            return False
        try:
            factors = splu(self.transition.tocsc())
        except RuntimeError:  # exactly singular
            return False
        return bool(np.abs(factors.U.diagonal()).min() > _NEARLY_SINGULAR)


_NEARLY_SINGULAR = 1e-7


@dataclass(frozen=True, kw_only=True)
class LinearRun:
    """A run of n nodes in which all that is sent is linear in private values with Gaussian noise.

    Parameters
    ----------
    nodes : int
    owners : ndarray
        The node whose value each is, int64 ``[V]``.
    stages : sequence of Stage
        In order; the first starts from nothing. A stage that is repeated is the same object.
    noise : SourceNoise, optional
        What else enters than values with equal noise of their own. Values, here and in stages, are then sources
        of either kind.
    """

    nodes: int
    owners: Ints
    stages: Sequence[Stage]
    noise: SourceNoise | None = None

    @property
    def counts(self) -> Ints:
        """How many private values each node has, int64 ``[nodes]``."""
        owners = self.owners if self.noise is None else self.owners[self.noise.private]
        return np.bincount(owners, minlength=self.nodes)

    @property
    def has_sums(self) -> bool:
        """Whether there are masked sums, of which no formula has been published."""
        return any(stage.needed is not None for stage in self.stages)

    def __post_init__(self) -> None:
        width = 0
        for number, stage in enumerate(self.stages):
            if stage.width != width or stage.observed.shape != (
                len(stage.receivers),
                stage.transition.shape[1],
            ):
                raise NotAccountable(
                    f"stage {number} does not follow the one before it",
                    expected=f"matrices of {width} + {len(stage.values)} columns, and a receiver a row",
                    got=f"shapes {stage.transition.shape} and {stage.observed.shape}, and "
                    f"{len(stage.receivers)} receivers",
                )
            width = int(stage.transition.shape[0])

    def require_nodes(self, observers: Collection[int]) -> None:
        """Require at least one observer, and that all are nodes of the run."""
        if not observers or min(observers) < 0 or max(observers) >= self.nodes:
            raise NotAccountable(
                "observers must be nodes of the run",
                expected=f"numbers of 0 … {self.nodes - 1}",
                got=list(observers),
            )

    def overheard(self) -> LinearRun:
        """The same run with one more node, the last, that has nothing and receives every row that is sent.

        Rows of masked sums it sees as they were before their masks.
        """
        known: dict[int, Stage] = {}
        for stage in self.stages:
            if id(stage) not in known:
                listener = np.full_like(stage.receivers, self.nodes)
                known[id(stage)] = replace(
                    stage,
                    observed=csr_array(vstack([stage.observed, stage.observed], format="csr")),
                    senders=np.concatenate([stage.senders, stage.senders]),
                    receivers=np.concatenate([stage.receivers, listener]),
                    **_shown(stage),
                )
        return replace(self, nodes=self.nodes + 1, stages=[known[id(stage)] for stage in self.stages])

    def distances_to(self, observer: int) -> Ints:
        """Links from each node to an observer, ``[nodes]``; -1 where none of what it sends could arrive."""
        distances = np.full(self.nodes, -1)
        distances[observer] = 0
        reached = np.array([observer])
        while len(reached):
            around = self._links[reached].sum(axis=0) > 0
            reached = np.flatnonzero(around & (distances < 0))
            distances[reached] = distances.max() + 1
        return distances

    @cached_property
    def _links(self) -> csr_array:
        """At ``(i, j)`` how often i received from j."""
        pairs = {(id(stage)): (stage.receivers, stage.senders) for stage in self.stages}.values()
        receivers, senders = (np.concatenate(each) for each in zip(*pairs, strict=True))
        return csr_array((np.ones(len(senders)), (receivers, senders)), shape=(self.nodes, self.nodes))

    @cached_property
    def period(self) -> int | None:
        """The period of the stages after the first; None if they do not repeat, or more values enter in them."""
        start, later = self.stages[0], self.stages[1:]
        if not later or not _is_start(start) or any(len(stage.values) for stage in later):
            return None
        first = later[0]
        for period in (at for at in range(1, len(later)) if later[at] is first):
            if all(stage is later[at % period] for at, stage in enumerate(later)):
                return period
        return None

    def messages(self, observers: Collection[int]) -> Iterator[Floats]:
        """Yield the rows that observers receive as functions of the values, ``[k, V]``, stage by stage."""
        state = np.zeros((0, len(self.owners)))
        for stage in self.stages:
            before = stage.with_values(state)
            yield stage.seen_by(observers) @ before
            state = stage.transition @ before

    def final_state(self) -> Floats:
        """What nodes hold in the end, and messages on their way, as functions of the values, ``[m, V]``."""
        state = np.zeros((0, len(self.owners)))
        for stage in self.stages:
            state = stage.transition @ stage.with_values(state)
        return state


def _shown(stage: Stage) -> dict[str, Any]:
    """Who is needed to see the rows of a stage, and those rows again, for which nobody is."""
    if stage.needed is None or stage.holders is None:
        return {}
    return {
        "needed": np.concatenate([stage.needed, np.zeros_like(stage.needed)]),
        "holders": csr_array(vstack([stage.holders, stage.holders], format="csr")),
    }


def _is_start(stage: Stage) -> bool:
    """Whether the state after the stage is the values themselves, and nothing was sent."""
    n = len(stage.values)
    one_each = stage.transition.shape == (n, n) and np.array_equal(stage.values, np.arange(n))
    return one_each and not len(stage.receivers) and not (stage.transition != identity(n)).nnz


def averaging(matrices: Sequence[csr_array], *, receives: Sequence[csr_array] | None = None) -> LinearRun:
    """Return the run in which every node has one value, and rounds mix them: ``x ← W_t x``.

    Parameters
    ----------
    matrices : sequence of csr_array
        One mixing matrix a round, ``[n, n]``. Node i receives from j where W_ij is not zero.
    receives : sequence of csr_array, optional
        Non-zero at ``(i, j)`` where i receives what j has in that round, if not where it is mixed.
    """
    if not matrices:
        raise NotAccountable("a run of no rounds", expected="at least one mixing matrix")
    n = int(matrices[0].shape[0])
    start = Stage(
        transition=csr_array(identity(n)),
        observed=csr_array((0, n)),
        senders=NOBODY,
        receivers=NOBODY,
        values=np.arange(n),
    )
    known: dict[tuple[bytes, ...], Stage] = {}
    stages = [start]
    for number, matrix in enumerate(matrices):
        links = matrix if receives is None else receives[number]
        key = (*_content(matrix), *_content(links))
        if key not in known:
            known[key] = _round(csr_array(matrix), csr_array(links))
        stages.append(known[key])
    return LinearRun(nodes=n, owners=np.arange(n), stages=stages)


def _content(matrix: csr_array) -> tuple[bytes, ...]:
    return matrix.indptr.tobytes(), matrix.indices.tobytes(), matrix.data.tobytes()


def _round(matrix: csr_array, links: csr_array) -> Stage:
    pairs = links.tocoo()
    real = (pairs.row != pairs.col) & (pairs.data != 0)
    receivers, senders = pairs.row[real].astype(np.int64), pairs.col[real].astype(np.int64)
    count = len(senders)
    seen = csr_array((np.ones(count), (np.arange(count), senders)), shape=(count, matrix.shape[0]))
    return Stage(transition=matrix, observed=seen, senders=senders, receivers=receivers)
