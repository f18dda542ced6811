"""The constants of convergence theory, measured: gradients, their noise, heterogeneity and smoothness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.rows import to_tensors
from gossipfl.tasks.samples import call_module
from gossipfl.training import Trainer, batch_positions
from sims.analysis.distances import sampled
from sims.analysis.runs.problem import Problem

__all__ = ["Landscape", "local_gradients", "measure_landscape", "quadratic_of"]

Rows = NDArray[np.floating[Any]]

_NODES = 128
_SAMPLES = 2048
_BATCHES = 8
_POWER_STEPS = 30
_DEVIATIONS = 16

_Bend = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """The problem as the last models of a run see it; x̄ is their mean, fᵢ the loss on node i's own samples."""

    smoothness: float
    """L: largest eigenvalue, by modulus, of the Hessian of f = (1/n) Σ fᵢ at x̄."""
    stiffness: float
    """Curvature of f at x̄ along the nodes' deviations, Σ vᵢᵀ∇²f(x̄)vᵢ / Σ ‖vᵢ‖², vᵢ = xᵢ − x̄; L if there are
    none.
    """
    noise: float
    """σ²: mean over nodes of E‖∇Fᵢ(x̄; batch) − ∇fᵢ(x̄)‖², all coordinates together."""
    heterogeneity: float
    """ζ²: (1/n) Σ ‖∇fᵢ(x̄) − ∇f(x̄)‖²."""
    gradient: float
    """‖∇f(x̄)‖²."""
    disagreement: float
    """(1/n) Σ ‖∇fᵢ(xᵢ) − mean‖²: the spread of gradients at the nodes' own models."""
    distance: float
    """Ξ² = (1/n) Σ ‖xᵢ − x̄‖², over the trained parameters."""
    nodes: int
    """Nodes measured; of more than 128, evenly spaced ones."""


def measure_landscape(problem: Problem, rows: Rows) -> Landscape:
    """Measure the constants of theory at the models of a run.

    Parameters
    ----------
    problem : Problem
    rows : ndarray
        Models of all nodes, ``[N, D]``; node i owns the samples of owner i.
    """
    trainer = problem.trainer()
    chosen = sampled(min(len(rows), problem.owners), _NODES)
    own = torch.from_numpy(np.ascontiguousarray(rows)).to(problem.dtype)
    mean = own.mean(dim=0)
    at_mean = local_gradients(problem, trainer, mean.expand(len(chosen), -1), chosen)
    at_own = local_gradients(problem, trainer, own[torch.from_numpy(chosen)], chosen)
    trained = own[:, : problem.task.layout.trainable_size].double()
    average = at_mean.mean(dim=0)
    bend = _hessian(problem, mean)
    smoothness = _largest_curvature(bend, trained.shape[1]) + problem.training.weight_decay
    deviations = (trained - trained.mean(dim=0))[torch.from_numpy(sampled(len(trained), _DEVIATIONS))]
    return Landscape(
        smoothness=smoothness,
        stiffness=_curvature_along(bend, deviations, problem.training.weight_decay) or smoothness,
        noise=_noise(problem, trainer, mean, chosen),
        heterogeneity=float(((at_mean - average) ** 2).sum(dim=1).mean()),
        gradient=float((average**2).sum()),
        disagreement=float(((at_own - at_own.mean(dim=0)) ** 2).sum(dim=1).mean()),
        distance=float(((trained - trained.mean(dim=0)) ** 2).sum(dim=1).mean()),
        nodes=len(chosen),
    )


def local_gradients(problem: Problem, trainer: Trainer, rows: Tensor, nodes: NDArray[np.int64]) -> Tensor:
    """Gradients of the nodes' own losses, weight decay included: float64 ``[k, trainable_size]``.

    Parameters
    ----------
    problem : Problem
    trainer : Trainer
    rows : Tensor
        Where to measure: one model per node, ``[k, D]``.
    nodes : ndarray
        Whose samples, ``[k]``.
    """
    gradients = []
    for row, node in zip(rows, nodes, strict=True):
        positions = np.arange(problem.data.counts[node], dtype=np.int64)[None]
        inputs, targets = problem.data.gather(np.array([node]), positions)
        gradients.append(
            trainer.gradients(row[None].contiguous(), inputs, targets, [0]).gradients[0].double()
        )
    decay = problem.training.weight_decay
    return torch.stack(gradients) + decay * rows[:, : problem.task.layout.trainable_size].double()


def _noise(problem: Problem, trainer: Trainer, mean: Tensor, nodes: NDArray[np.int64]) -> float:
    """Variance of the gradients of batches as they are drawn; 0 where a batch is all of a node's samples."""
    total, training, data = 0.0, problem.training, problem.data
    for node in nodes:
        size = min(training.batch_size, int(data.counts[node]))
        if size == data.counts[node]:
            continue
        owners = np.full(_BATCHES, node)
        positions = batch_positions(
            seed=training.seed,
            nodes=data.numbers[owners],
            # One batch an epoch: batches of one epoch are not independent of each other.
            steps=np.arange(_BATCHES, dtype=np.int64) * -(-int(data.counts[node]) // size),
            counts=data.counts[owners],
            size=size,
        )
        inputs, targets = data.gather(owners, positions)
        rows = mean.expand(_BATCHES, -1).contiguous()
        gradients = trainer.gradients(rows, inputs, targets, [0] * _BATCHES).gradients.double()
        total += float(gradients.var(dim=0, unbiased=True).sum())
    return total / len(nodes)


def _hessian(problem: Problem, mean: Tensor) -> _Bend:
    """Product of the Hessian of the pooled loss at the mean model with a vector ``[trainable_size]``."""
    chosen = sampled(len(problem.data.indices), _SAMPLES)
    inputs, targets = problem.data.at(problem.data.indices[chosen])
    module, layout = problem.task.build_module().eval(), problem.task.layout
    rest = mean[layout.trainable_size :]

    def loss(trained: Tensor) -> Tensor:
        tensors = to_tensors(torch.cat([trained, rest]), layout)
        return problem.task.objective(call_module(module, tensors, inputs), targets)

    at = mean[: layout.trainable_size].clone()

    def bend(direction: Tensor) -> Tensor:
        product: Tensor = torch.autograd.functional.vhp(loss, at, direction.to(at))[1]  # type: ignore[no-untyped-call]
        return product.double()

    return bend


def _largest_curvature(bend: _Bend, size: int) -> float:
    """Largest eigenvalue by modulus, by power iteration."""
    direction = torch.from_numpy(np.random.Generator(np.random.Philox(0)).standard_normal(size))
    curvature = 0.0
    for _ in range(_POWER_STEPS):
        direction = direction / torch.linalg.vector_norm(direction)
        bent = bend(direction)
        curvature = float(direction @ bent)
        if not float(torch.linalg.vector_norm(bent)) > 0:
            break
        direction = bent
    return abs(curvature)


def _curvature_along(bend: _Bend, deviations: Tensor, decay: float) -> float:
    squares = float((deviations**2).sum())
    if not squares > 0:
        return 0.0
    return max(0.0, sum(float(each @ bend(each)) for each in deviations) / squares + decay)


def quadratic_of(problem: Problem, row: Tensor) -> tuple[float, NDArray[np.float64]] | None:
    """Whether every node's loss is ½ h ‖x − bᵢ‖² + const with the same h for all; if so, h and all bᵢ.

    Parameters
    ----------
    problem : Problem
    row : Tensor
        A model to try at, ``[D]``.

    Returns
    -------
    (float, ndarray) or None
        h and b, float64 ``[N, trainable_size]``; None if gradients show that losses are of another form.
    """
    size, nodes = problem.task.layout.trainable_size, np.arange(problem.owners)
    trainer = problem.trainer()
    here = local_gradients(problem, trainer, row.expand(len(nodes), -1), nodes)
    generator = np.random.Generator(np.random.Philox(0))
    curvatures = []
    for scale in (1.0, -3.0):
        step = torch.from_numpy(generator.standard_normal(size)).to(row.dtype) * scale
        moved = torch.cat([row[:size] + step, row[size:]])
        change = local_gradients(problem, trainer, moved.expand(len(nodes), -1), nodes) - here
        curvature = float((change[0] @ step.double()) / (step.double() @ step.double()))
        if not curvature > 0 or float((change - curvature * step.double()).abs().max()) > 1e-4 * curvature:
            return None
        curvatures.append(curvature)
    if abs(curvatures[0] - curvatures[1]) > 1e-4 * curvatures[0]:
        return None
    h = curvatures[0]
    return h, (row[:size].double() - here / h).numpy()
