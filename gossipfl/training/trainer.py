"""Local training on rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.errors import GossipflError, IncompatibleModel, InvalidPartition, SettingError
from gossipfl.layout import Layout
from gossipfl.rows import to_row
from gossipfl.tasks import Task
from gossipfl.tasks.failures import training_failures_named
from gossipfl.tasks.samples import Tree, placed
from gossipfl.training.augmentation import Transform, require_repeatable
from gossipfl.training.data import NodeData
from gossipfl.training.differentiated import Differentiated
from gossipfl.training.gradient import RowGradients, row_gradients
from gossipfl.training.nodes import Nodes
from gossipfl.training.optimisers import Optimiser, optimiser_of
from gossipfl.training.private import private_gradients, require_separable, require_unchanged
from gossipfl.training.settings import TrainingSettings, learning_rates
from gossipfl.training.shuffled import shuffled_gradients
from gossipfl.training.step_draws import SeededDraws, StepDraws

__all__ = ["Trainer", "TrainingStopped"]

logger = logging.getLogger(__name__)


class TrainingStopped(GossipflError):
    """Training was stopped between two steps, and nothing has changed."""


@dataclass(frozen=True)
class Trainer:
    """Trains any number of nodes on their own data, with one code path whatever their number.

    Build it with `Trainer.of`.
    """

    layout: Layout
    data: NodeData
    settings: TrainingSettings
    gradients: RowGradients
    transform: Transform | None = None
    device: torch.device | None = None
    draws: StepDraws | None = None

    @classmethod
    def of(
        cls, task: Task, data: NodeData, settings: TrainingSettings, *, dtype: torch.dtype = torch.float32
    ) -> Trainer:
        """Prepare training of a task, on rows of a dtype.

        Raises
        ------
        InvalidTask
            If the task's module or loss fails on its own data, or on batches as small as the smallest node's.
        SettingError
            If the settings are none.
        """
        if not isinstance(settings, TrainingSettings):
            raise SettingError(
                "training needs settings", expected="gossipfl.TrainingSettings", got=type(settings).__name__
            )
        if settings.privacy is not None:
            require_separable(task)
        smallest = min(2, settings.batch_size, int(data.counts.min()))
        example = data.at(data.indices[:smallest])
        if task.transform is not None:
            example = require_repeatable(task.transform, example)
        if task.device is not None:
            example = placed(example, task.device)
        objective = task.objective
        gradients = row_gradients(
            task.module_on_device(),
            task.layout,
            objective,
            example=example,
            targets=data.targets,
            dtype=dtype,
            common_start=task.start == "common",
            initial_row=partial(_initial_row, task, dtype),
        )
        objective.require_classes(data.targets)
        if settings.privacy is not None:
            require_unchanged(gradients)
        return cls(task.layout, data, settings, gradients, task.transform, task.device)

    @cached_property
    def traceable(self) -> bool:
        """Whether a step is pure tensor arithmetic: batched over rows, and nothing augmented or read from disk.

        Says in the log why not.
        """
        if self.settings.privacy is not None:  # batches have any number of samples
            return False
        if self.transform is not None or not self.data.in_memory:
            reason = (
                "its batches are changed at random" if self.transform else "its samples are read from disk"
            )
            logger.warning("training goes row by row, without traced programmes, more slowly: %s", reason)
            return False
        return self.gradients.vectorised

    @property
    def is_spent(self) -> bool:
        """Whether a privacy budget allows no further step."""
        return self.draws is not None and self.draws.is_spent

    @property
    def optimiser_state_size(self) -> int:
        """Width of the optimiser's state that `train` needs in its nodes."""
        return self.optimiser.state_size(self.layout.trainable_size)

    @property
    def optimiser(self) -> Optimiser:
        """The rule that turns gradients into steps."""
        return optimiser_of(self.settings, tensors=len(self.layout.trained_widths))

    def train(
        self,
        nodes: Nodes,
        owners: NDArray[np.int64],
        *,
        steps: int | None = None,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> tuple[Nodes, Tensor]:
        """Do training steps on every node.

        A step is the optimiser's (`SGD`, `AdamW`) against ``clip(∇ℓ(x; batch))``, with the batch that
        (seed, node, step) determines and the step size of the schedule; it adds one to age and step.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        owners : ndarray
            Shape ``[B]``, int64: whose data in `data` each node trains on.
        steps : int, optional
            How many, at least 1; ``settings.local_steps`` unless given.
        goes_on : callable, optional
            Asked before each step; if it says no, training stops.

        Returns
        -------
        nodes : Nodes
            After the steps.
        losses : Tensor
            Mean loss over the steps, each before its own update: shape ``[B]``.

        Raises
        ------
        IncompatibleModel
            If the rows or optimiser states of the nodes have another width than the task and settings need, or the
            rows another precision.
        InvalidPartition
            If an owner is none of those that have data, or there are not as many as nodes.
        SettingError
            If ``steps`` is below 1.
        InvalidTask
            If the module or the loss fails on a batch.
        TrainingStopped
            If ``goes_on`` said no. The nodes are as they were.
        BudgetSpent
            If training is private, and its budget is spent. The nodes are as they were.
        """
        self.require_fitting(nodes)
        if not len(nodes):
            return nodes, nodes.rows.new_zeros(0)
        self._require_owners(nodes, owners)
        total = nodes.rows.new_zeros(len(nodes))
        count = self.settings.local_steps if steps is None else steps
        if count < 1:
            raise SettingError("training takes steps", expected="at least 1", got=count)
        with training_failures_named():
            placed_nodes = self._on_device(nodes)
            total = total.to(placed_nodes.rows.device)
            for _ in range(count):
                if not goes_on():
                    raise TrainingStopped("training was stopped between two steps")
                placed_nodes, losses = self._step(placed_nodes, owners)
                total += losses
        return placed_nodes.on(nodes.rows.device), (total / count).to(nodes.rows.device)

    def gradient(self, nodes: Nodes, owners: NDArray[np.int64]) -> tuple[Nodes, Tensor]:
        """Evaluate the gradient of each node's next batch, and leave the parameters alone.

        Parameters
        ----------
        nodes, owners
            As for `train`.

        Returns
        -------
        nodes : Nodes
            One step older, with the buffers that the module left.
        gradients : Tensor
            ``clip(∇ℓ(x; batch)) + weight_decay · x``, shape ``[B, trainable_size]``.

        Raises
        ------
        IncompatibleModel, InvalidPartition, InvalidTask
            As `train`.
        """
        self.require_fitting(nodes)
        if not len(nodes):
            return nodes, nodes.rows.new_zeros(0, self.layout.trainable_size)
        self._require_owners(nodes, owners)
        with training_failures_named():
            at_work = self._on_device(nodes)
            found = self._gradients(at_work, owners)
        device = nodes.rows.device
        return self._seen(at_work, found).on(device), self._regularised(found).to(device)

    def losses(self, nodes: Nodes, owners: NDArray[np.int64]) -> Tensor:
        """Losses of nodes' rows on their next batches, ``[B]``; arguments and errors are those of `train`."""
        self.require_fitting(nodes)
        if self.settings.privacy is not None:
            raise SettingError(
                "losses on a node's own samples have no noise, and its training is private",
                expected="an algorithm that looks at no losses",
                remedy="Choose another algorithm, or leave out [training.privacy].",
            )
        if not len(nodes):
            return nodes.rows.new_zeros(0)
        self._require_owners(nodes, owners)
        with training_failures_named():
            return self._gradients(self._on_device(nodes), owners).losses.to(nodes.rows.device)

    def _on_device(self, nodes: Nodes) -> Nodes:
        return nodes if self.device is None else nodes.on(self.device)

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes of the nodes' next steps, from their ages or steps: ``[B, 1]``, of the rows' dtype."""
        clock = nodes.steps
        if self.settings.clock == "age":
            clock = nodes.ages if nodes.ages.dim() == 1 else nodes.ages.amax(dim=1)
        return learning_rates(clock, self.settings, dtype=nodes.rows.dtype)[:, None]

    def _step(self, nodes: Nodes, owners: NDArray[np.int64]) -> tuple[Nodes, Tensor]:
        found = self._gradients(nodes, owners)
        return self._descend(nodes, found, spend=True), found.losses

    def step_on(self, nodes: Nodes, inputs: Tree, targets: Tree) -> tuple[Nodes, Tensor]:
        """Do one training step on batches already gathered: pure tensor arithmetic, so it can be traced.

        Only where the gradients are `RowGradients.vectorised`.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        inputs, targets : Tree
            Shape ``[B, S, ...]``: each node's own batch.

        Returns
        -------
        nodes, losses
            As `train`.
        """
        found = self.gradients.together(nodes.rows, inputs, targets)
        return self._descend(nodes, found), found.losses

    def gradient_on(self, nodes: Nodes, inputs: Tree, targets: Tree) -> tuple[Nodes, Tensor]:
        """Evaluate gradients on batches already gathered: pure tensor arithmetic, so it can be traced.

        Parameters
        ----------
        nodes, inputs, targets
            As for `step_on`.

        Returns
        -------
        nodes, gradients
            As `gradient`.
        """
        found = self.gradients.together(nodes.rows, inputs, targets)
        return self._seen(nodes, found), self._regularised(found)

    def _regularised(self, found: Differentiated, *, spend: bool = False) -> Tensor:
        settings, gradients = self.settings, found.gradients
        into = gradients if spend else None
        if settings.clip_norm is not None:
            norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
            gradients = torch.mul(gradients, (settings.clip_norm / (norms + 1e-6)).clamp(max=1), out=into)
        if settings.weight_decay and settings.optimiser == "sgd":
            decaying, reached = found.trainable, found.reached
            if reached is not None and not reached.everything:
                decaying = decaying * reached.places
            gradients = torch.add(gradients, decaying, alpha=settings.weight_decay, out=into)
        return gradients

    def _seen(self, nodes: Nodes, found: Differentiated) -> Nodes:
        """Nodes that have seen a batch, and whose parameters are as the forward pass left them."""
        rows = nodes.rows
        if found.untrained.shape[1] or self.gradients.changes_parameters:
            rows = torch.cat([found.trainable, found.untrained], dim=1)
        return replace(nodes, rows=rows, ages=nodes.ages + 1, steps=nodes.steps + 1)

    def _descend(self, nodes: Nodes, found: Differentiated, *, spend: bool = False) -> Nodes:
        trained, state = self.optimiser.step(
            found.trainable,
            self._regularised(found, spend=spend),
            nodes.optimiser_state,
            rates=self.learning_rates(nodes).to(nodes.rows.device),
            reached=found.reached,
            spend=spend,
        )
        untrained = found.untrained
        return replace(
            nodes,
            rows=torch.cat([trained, untrained], dim=1) if untrained.shape[1] else trained,
            ages=nodes.ages + 1,
            steps=nodes.steps + 1,
            optimiser_state=state,
        )

    def require_fitting(self, nodes: Nodes) -> None:
        """Refuse nodes of another width or precision than the task and settings need.

        Raises
        ------
        IncompatibleModel
        """
        if nodes.rows.dtype != self.gradients.dtype:
            raise IncompatibleModel(
                "the rows of the nodes are of another precision than this training",
                expected=self.gradients.dtype,
                got=nodes.rows.dtype,
                remedy="Convert them, or prepare training with Trainer.of(..., dtype=...).",
            )
        for what, tensor, width in (
            ("rows", nodes.rows, self.layout.size),
            ("optimiser states", nodes.optimiser_state, self.optimiser_state_size),
        ):
            if tensor.shape != (len(nodes), width):
                raise IncompatibleModel(
                    f"the {what} of the nodes do not fit this training",
                    expected=(len(nodes), width),
                    got=tuple(tensor.shape),
                    remedy="Make them with Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size).",
                )

    def _require_owners(self, nodes: Nodes, owners: NDArray[np.int64]) -> None:
        known = len(self.data.counts)
        if owners.shape == (len(nodes),) and int(owners.min()) >= 0 and int(owners.max()) < known:
            return
        raise InvalidPartition(
            "the owners of the nodes' data are others than those there are",
            expected=f"{len(nodes)} whole numbers, each within 0 … {known - 1}",
            got=f"shape {owners.shape}, {owners.min()} … {owners.max()}" if owners.size else "none",
        )

    def _gradients(self, nodes: Nodes, owners: NDArray[np.int64]) -> Differentiated:
        """Losses and gradients on the nodes' next batches."""
        settings = self.settings
        if settings.privacy is None:
            return shuffled_gradients(
                nodes,
                owners,
                gradients=self.gradients,
                data=self.data,
                batch_size=settings.batch_size,
                seed=settings.seed,
                transform=self.transform,
            )
        return private_gradients(
            nodes,
            owners,
            gradients=self.gradients,
            data=self.data,
            draws=self.draws or _seeded_draws(settings),
            privacy=settings.privacy,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )


def _seeded_draws(settings: TrainingSettings) -> SeededDraws:
    privacy = settings.privacy
    assert privacy is not None  # noqa: S101  (the caller looked)
    return SeededDraws(settings.seed, cyclic=privacy.sampling == "cyclic", bands=privacy.bands)


def _initial_row(task: Task, dtype: torch.dtype) -> Tensor:
    return to_row(task.build_module(), task.layout).to(task.device, dtype)
