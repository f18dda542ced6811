"""The state of B nodes that learn, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gossipfl.codecs import is_finite

__all__ = ["PERSONAL", "Nodes", "before_rest", "has_diverged"]

PERSONAL = "personal"
"""Name among `Nodes.auxiliary` of models to use in place of those that nodes share, ``[B, D]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """What B nodes know. A peer holds one with ``B = 1``.

    Values are never changed in place: every function that learns returns new `Nodes`, so a state that was
    handed to another task or thread stays as it was.

    Parameters
    ----------
    rows : Tensor
        Models, shape ``[B, D]``, float32.
    ages : Tensor
        How many training steps the model descends from, along its longest line: shape ``[B]``, int64. A merge
        takes the larger age, a training step adds one (Ormándi et al. 2013, Algorithm 1: ``t``). Where parts of
        models are exchanged one by one, each part has its age: shape ``[B, parts]``.
    steps : Tensor
        Training steps this node itself has done, shape ``[B]``, int64: the counter its batches are drawn by.
    optimiser_state : Tensor
        State of the optimiser, shape ``[B, Optimiser.state_size]``, float32: velocities of SGD, moments of
        AdamW; ``[B, 0]`` where it keeps none. Zeros are at rest.
    auxiliary : mapping of str to Tensor
        What an algorithm keeps beside the model (trackers, public copies, weights), each ``[B, ...]``; of what it
        keeps for links ``[L, ...]``.
    """

    rows: Tensor
    ages: Tensor
    steps: Tensor
    optimiser_state: Tensor
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def models(self) -> Tensor:
        """Models to use and to evaluate, ``[B, D]``: personal ones if the algorithm has them, else `rows`."""
        return self.auxiliary.get(PERSONAL, self.rows)

    @classmethod
    def start(cls, rows: Tensor, *, optimiser_state_size: int = 0, parts: int = 1) -> Nodes:
        """Nodes of age zero that have not trained yet, from rows of shape ``[B, D]``."""
        count = rows.shape[0]
        return cls(
            rows=rows,
            ages=torch.zeros((count,) if parts == 1 else (count, parts), dtype=torch.int64),
            steps=torch.zeros(count, dtype=torch.int64),
            optimiser_state=rows.new_zeros(count, optimiser_state_size),
        )

    def __len__(self) -> int:
        return self.rows.shape[0]

    def select(self, index: Tensor | slice) -> Nodes:
        """The nodes at ``index``, without what an algorithm keeps beside their models."""
        return Nodes(
            rows=self.rows[index],
            ages=self.ages[index],
            steps=self.steps[index.to(self.steps.device) if isinstance(index, Tensor) else index],
            optimiser_state=self.optimiser_state[index],
        )

    def on(self, device: torch.device) -> Nodes:
        """The same nodes with rows and optimiser states on a device; counters stay where batches are drawn."""
        if self.rows.device == device:
            return self
        return replace(self, rows=self.rows.to(device), optimiser_state=self.optimiser_state.to(device))

    def with_parts(self, parts: int) -> Nodes:
        """The same nodes with an age for each of so many parts: the largest, if they have others."""
        count = len(self)
        if self.ages.shape == ((count,) if parts == 1 else (count, parts)):
            return self
        oldest = self.ages.view(count, -1).amax(dim=1)
        return replace(self, ages=oldest if parts == 1 else oldest[:, None].repeat(1, parts))

    def with_optimiser_state(self, size: int) -> Nodes:
        """The same nodes with optimiser states of a width: at rest, if theirs have another."""
        if self.optimiser_state.shape[1] == size:
            return self
        return replace(self, optimiser_state=self.rows.new_zeros(len(self), size))

    def with_shared(self, shared: Tensor, *, ages: Tensor) -> Nodes:
        """The same nodes with other shared parameters (shape ``[B, shared_size]``) and ages (``[B]``)."""
        return replace(self, rows=before_rest(shared, self.rows), ages=ages)


def before_rest(first: Tensor, rows: Tensor) -> Tensor:
    """Rows that begin with ``first`` (``[B, K]``) and go on as ``rows`` (``[B, D]``) do; no copy where K = D."""
    width = first.shape[1]
    return first if width == rows.shape[1] else torch.cat([first, rows[:, width:]], dim=1)


def has_diverged(rows: Tensor, good: Tensor) -> bool:
    """Whether there are NaN or infinities in rows where there had been none.

    What a module holds from the beginning, such as a mask of -inf, is not a divergence.

    Parameters
    ----------
    rows, good : Tensor
        Of one shape: now, and before.
    """
    return not is_finite(rows) and bool((~rows.isfinite() & good.isfinite()).any())
