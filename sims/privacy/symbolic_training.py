"""Local training on coefficients: gradients are values that enter, whatever the models are."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes
from gossipfl.training.descent import step_along
from gossipfl.training.optimisers import optimiser_of
from gossipfl.training.settings import learning_rates
from sims.privacy.errors import NotAccountable

__all__ = ["SymbolicTraining"]


class SymbolicTraining:
    """`gossipfl.algorithms.LocalTraining` in which each gradient is the next of given rows.

    Parameters
    ----------
    settings : TrainingSettings
    samples : Tensor
        How many each node has, int64 ``[B]``.
    enabled : bool
        Whether nodes train at all.
    gradients : Tensor
        The gradient of each node in each step, in the order they are taken, float64 ``[values, D]``; further ones
        are zero.

    Attributes
    ----------
    taken : list of int
        The node, counted among the B, of each gradient taken so far.

    Raises
    ------
    NotAccountable
        If the optimiser is not linear in the gradients.
    """

    def __init__(
        self, settings: TrainingSettings, *, samples: Tensor, enabled: bool, gradients: Tensor
    ) -> None:
        if enabled and settings.optimiser != "sgd":
            raise NotAccountable(
                f"steps of {settings.optimiser} are not linear in the gradients",
                expected="training.optimiser = 'sgd'",
                remedy="Choose sgd, or training.enabled = false to account for averaging alone.",
            )
        self.settings, self.samples, self.enabled = settings, samples, enabled
        self._gradients, self._optimiser = gradients, optimiser_of(settings)
        self.taken: list[int] = []

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Do steps against the next gradients; see `LocalTraining`."""
        if not self.enabled:
            return nodes
        counts = torch.full((len(nodes),), self.settings.local_steps) if steps is None else steps
        for step in range(int(counts.max())):
            among = counts > step
            seen, gradients = self._next(nodes, among)
            stepped = step_along(seen, gradients, rates=self.learning_rates(nodes), optimiser=self._optimiser)
            nodes = replace(
                seen,
                rows=torch.where(among[:, None], stepped.rows, nodes.rows),
                optimiser_state=torch.where(among[:, None], stepped.optimiser_state, nodes.optimiser_state),
            )
        return nodes

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Take the next gradient of every node; see `LocalTraining`."""
        if not self.enabled:
            return nodes, torch.zeros_like(nodes.rows)
        return self._next(nodes, torch.ones(len(nodes), dtype=torch.bool))

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Refuse to evaluate others' rows: what follows from a loss is not linear."""
        del nodes, rows, whose
        raise NotAccountable(
            "an algorithm that looks at losses is not linear", remedy="Choose an algorithm that averages."
        )

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes at the nodes' ages, ``[B, 1]``."""
        clock = nodes.ages if self.settings.clock == "age" else nodes.steps
        return learning_rates(clock, self.settings, dtype=nodes.rows.dtype)[:, None]

    def _next(self, nodes: Nodes, among: Tensor) -> tuple[Nodes, Tensor]:
        gradients = torch.zeros_like(nodes.rows)
        for node in torch.nonzero(among)[:, 0].tolist():
            if len(self.taken) < len(self._gradients):
                gradients[node] = self._gradients[len(self.taken)]
            self.taken.append(node)
        if self.settings.weight_decay:
            gradients = gradients + self.settings.weight_decay * nodes.rows
        older = among.to(torch.int64)
        return replace(nodes, ages=nodes.ages + older, steps=nodes.steps + older), gradients
