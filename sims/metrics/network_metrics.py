"""Network-level metrics: the consensus distance tensor by tensor, and the mean model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.consensus import layer_distances
from gossipfl.layout import Layout
from gossipfl.rows import Rows
from gossipfl.tasks import Task
from gossipfl.tasks.samples import Tree, map_leaves
from gossipfl.training import Trainer
from sims.world import World

__all__ = [
    "GRADIENT",
    "LAYER",
    "MEAN_MODEL",
    "OBSERVED",
    "layer_columns",
    "mean_model_columns",
    "mean_model_metrics",
    "mean_row",
    "network_metrics",
    "observed_columns",
]

LAYER = "consensus_distance/"
"""Columns of the consensus distance of one tensor of the model begin with this."""

OBSERVED = "algorithm/"
"""Columns of what an algorithm measures itself begin with this."""

MEAN_MODEL = "mean_model_"
"""Prefix of the columns measured on the mean of all models."""

GRADIENT = "mean_model_gradient"
"""Squared norm of the gradient of the mean loss on all samples, at the mean model."""

_CHUNK_ROWS = 4096
_SAMPLES = 4096


def network_metrics(world: World, rows: Rows, among: NDArray[np.bool_]) -> dict[str, float]:
    """Measure what a scenario requests besides the measurements of single nodes.

    Parameters
    ----------
    world : World
    rows : Rows
        Models of all nodes, ``[N, D]``.
    among : ndarray
        Which nodes count, bool ``[N]``.

    Returns
    -------
    dict of str to float
        With ``evaluate.layers``, ``consensus_distance/TENSOR`` of every shared tensor; with
        ``evaluate.mean_model``, ``mean_model_METRIC`` and ``mean_model_gradient``. NaN if no row counts.
    """
    columns: dict[str, float] = {}
    if isinstance(rows, Tensor) and world.scenario.evaluate.layers:
        columns |= layer_columns(rows, world.layout, among)
    if world.scenario.evaluate.mean_model:
        columns |= mean_model_metrics(world, mean_row(rows, among))
    return columns


def observed_columns(
    observed: Mapping[str, NDArray[np.float64]], among: NDArray[np.bool_]
) -> dict[str, float]:
    """Mean and largest of what an algorithm measured of each node, ``[N]``, as columns; NaN if no node counts."""
    columns: dict[str, float] = {}
    for name, values in observed.items():
        chosen = values[among] if among.any() else np.full(1, np.nan)
        columns |= {f"{OBSERVED}{name}": float(chosen.mean()), f"{OBSERVED}{name}_max": float(chosen.max())}
    return columns


def mean_model_metrics(world: World, mean: Tensor) -> dict[str, float]:
    """Columns that are measured on the mean of all models, ``[D]``."""
    columns = mean_model_columns(world.task, mean, world.test_inputs, world.test_targets)
    return columns | {GRADIENT: _squared_gradient(world.trainer, mean)}


def layer_columns(rows: Tensor, layout: Layout, among: NDArray[np.bool_]) -> dict[str, float]:
    """Consensus distance of every shared tensor, as columns of the evaluations."""
    return {LAYER + name: value for name, value in layer_distances(rows, layout, among).items()}


def mean_row(rows: Rows, among: NDArray[np.bool_]) -> Tensor:
    """Mean of the rows that count, ``[D]``, summed in float64; NaN if none does."""
    chosen = torch.from_numpy(np.flatnonzero(among)).to(rows.device)
    total = torch.zeros_like(rows[:1][0], dtype=torch.float64)
    for part in torch.split(chosen, _CHUNK_ROWS):
        total += rows.index_select(0, part).sum(dim=0, dtype=torch.float64)
    mean = (total / len(chosen)) if len(chosen) else torch.full_like(total, float("nan"))
    return mean.to(rows.dtype).cpu()


def mean_model_columns(task: Task, mean: Tensor, inputs: Tree, targets: Tree) -> dict[str, float]:
    """Loss and metrics of the mean model ``[D]`` on the samples models are evaluated on."""
    measured = task.evaluate(mean[None], *map_leaves(Tensor.cpu, (inputs, targets)))
    return {MEAN_MODEL + name: float(values[0]) for name, values in measured.items()}


def _squared_gradient(trainer: Trainer, mean: Tensor) -> float:
    """‖∇f(x̄)‖², weight decay included; on 4,096 samples, evenly spaced, where there are more."""
    data = trainer.data
    places = np.linspace(0, len(data.indices) - 1, min(len(data.indices), _SAMPLES)).round().astype(np.int64)
    inputs, targets = map_leaves(lambda leaf: leaf[None], data.at(data.indices[places]))
    gradients = trainer.gradients(mean[None], inputs, targets, [0]).gradients
    size = trainer.layout.trainable_size
    whole = gradients[0].double() + trainer.settings.weight_decay * mean[:size].double()
    return float((whole**2).sum())
