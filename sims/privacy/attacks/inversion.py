"""Gradient inversion: a node's batch from two of its consecutive rows, as a neighbour saw them in rounds.

Between two rows that a node sends it mixes what it received and descends one or more steps. A neighbour knows the
weights, its own row, and the rows of whoever else is its neighbour; it takes the rows that it does not know to be
like the node's own. What remains of the change, over the step size, is its estimate of the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.func import grad, vmap

from gossipfl.rows import to_tensors
from gossipfl.tasks.samples import call_module
from gossipfl.training.batches import batch_positions
from gossipfl.training.settings import learning_rates
from sims.privacy.attacks.sent_rows import SentRows, Setting
from sims.privacy.errors import NotAccountable

__all__ = [
    "InversionFindings",
    "Stolen",
    "inputs_by_matching",
    "inputs_of_linear_layer",
    "inverted",
    "stolen_gradient",
]

_STEPS = 200
_RATE = 0.1
_SMALL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Stolen:
    """A neighbour's estimate of what a node did in a round, and what it really was trained on.

    Parameters
    ----------
    row : Tensor
        The model at which the gradient was taken, as estimated, ``[D]``.
    gradient : Tensor
        Sum of the steps over the step size, ``[trainable_size]``.
    inputs, targets : Tensor
        The batches, ``[S, ...]`` and ``[S]``.
    """

    row: Tensor
    gradient: Tensor
    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionFindings:
    """How well inputs were reconstructed.

    Parameters
    ----------
    batches, samples : int
        How many were attacked.
    psnr : float
        Mean peak signal-to-noise ratio of each sample's reconstruction, in dB; inputs have a range of their own.
    psnr_of_others : float
        The same where samples of other nodes are put in the place of reconstructions: what a guess is worth.
    recognised : float
        Share of the samples that are the nearest of all nodes' samples to their reconstructions.
    chance : float
        The same for a sample that is drawn from all.
    """

    batches: int
    samples: int
    psnr: float
    psnr_of_others: float
    recognised: float
    chance: float


def stolen_gradient(
    setting: Setting, sent: SentRows, *, observer: int, victim: int, round_number: int
) -> Stolen:
    """Estimate a node's gradient from its rows in a round and in the one before.

    Parameters
    ----------
    setting : Setting
        In rounds.
    sent : SentRows
        With both rounds kept.
    observer, victim : int
        Neighbours.
    round_number : int
        The later of the two rounds.

    Raises
    ------
    NotAccountable
        If the scenario is not in rounds, or the inputs are not one tensor.
    """
    network, world = setting.network, sent.world
    data, training = world.trainer.data, world.scenario.training
    if network is None or training.optimiser != "sgd":
        raise NotAccountable(
            "gradients are taken from two rows of consecutive rounds, with the step size between them",
            expected="an algorithm in rounds such as d_psgd, and training.optimiser = 'sgd'",
        )
    if training.privacy is not None:
        raise NotAccountable(
            "the batches of private training are drawn in another way, and blurred one by one"
        )
    if not isinstance(data.inputs, Tensor) or not data.inputs.is_floating_point():
        raise NotAccountable("inputs that are one tensor of real numbers can be reconstructed")
    before, after = sent.rows[round_number - 1], sent.rows[round_number]
    weights = network.sequence.matrix(round_number - 1)[[victim]].toarray()[0]
    known = {observer, victim, *setting.neighbours(observer).tolist()}
    mixed = torch.zeros_like(before[victim])
    for node in np.flatnonzero(weights).tolist():
        mixed += float(weights[node]) * (before[node] if node in known else before[victim])
    steps, width = training.local_steps, world.layout.trainable_size
    age = torch.tensor([round_number * steps])
    rate = learning_rates(age, training, dtype=mixed.dtype)
    gradient = (mixed - after[victim])[:width] / rate
    size = min(training.batch_size, int(data.counts[victim]))
    positions = batch_positions(
        seed=training.seed,
        nodes=np.full(steps, data.numbers[victim]),
        steps=np.arange(round_number * steps, (round_number + 1) * steps),
        counts=np.full(steps, data.counts[victim]),
        size=size,
    ).ravel()
    inputs, targets = data.gather(np.array([victim]), positions[None])
    return Stolen(row=mixed, gradient=gradient, inputs=inputs[0], targets=targets[0])


def inputs_of_linear_layer(module: nn.Module, tensors: dict[str, Tensor], *, size: int) -> Tensor:
    """Reconstruct inputs from the gradient of a first linear layer with bias, ``[K, size]``.

    The gradient of each output's weights is its inputs times the gradient of its bias, so their quotient is the
    input where one sample alone moved that output (Phong et al., TIFS 13(5), 2018). Without such a layer, K = 0.

    Parameters
    ----------
    module : torch.nn.Module
    tensors : dict of str to Tensor
        Gradients by the names of parameters.
    size : int
        Numbers of one input.
    """
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        weight, bias = tensors.get(f"{prefix}weight"), tensors.get(f"{prefix}bias")
        if (
            isinstance(layer, nn.Linear)
            and layer.in_features == size
            and weight is not None
            and bias is not None
        ):
            moved = bias.abs() > max(_SMALL, 1e-3 * float(bias.abs().max()))
            return weight[moved] / bias[moved][:, None]
    return torch.zeros(0, size)


def inputs_by_matching(
    setting: Setting, stolen: Stolen, *, seed: int, steps: int = _STEPS, trials: int = 2
) -> Tensor:
    """Find inputs whose gradient points where the stolen one does (Geiping et al., NeurIPS 2020), ``[S, ...]``.

    The attacker knows the labels and the range of inputs. Adam descends one minus the cosine of both gradients,
    from random inputs; of several trials the best is kept.
    """
    world = setting.world
    module, objective, layout = world.task.build_module().eval(), world.task.objective, world.layout
    width = layout.trainable_size
    low, high = float(world.trainer.data.inputs.min()), float(world.trainer.data.inputs.max())
    target = stolen.gradient / stolen.gradient.norm().clamp(min=_SMALL)

    def loss(trainable: Tensor, inputs: Tensor) -> Tensor:
        row = torch.cat([trainable, stolen.row[width:]])
        outputs = call_module(module, to_tensors(row, layout), inputs)
        return objective(outputs, stolen.targets)

    def apart(inputs: Tensor) -> Tensor:
        found = grad(loss)(stolen.row[:width], inputs)
        distance: Tensor = 1 - (found @ target) / found.norm().clamp(min=_SMALL)
        return distance

    generator = torch.Generator().manual_seed(seed)
    shape = (trials, *stolen.inputs.shape)
    tried = (low + (high - low) * torch.rand(shape, generator=generator)).requires_grad_()
    optimiser = torch.optim.Adam([tried], lr=_RATE * (high - low))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        with torch.enable_grad():
            distances = vmap(apart)(tried)
            distances.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            tried.clamp_(low, high)
    with torch.no_grad():
        best = int(vmap(apart)(tried).argmin())
    return tried[best].detach()


def inverted(
    setting: Setting,
    sent: SentRows,
    *,
    observer: int,
    victims: Sequence[int],
    round_number: int,
    seed: int = 0,
    steps: int = _STEPS,
) -> InversionFindings:
    """Attack the batches of several nodes in one round, and measure what came out."""
    world, pool = sent.world, sent.world.trainer.data.inputs.flatten(1)
    module, span = world.task.build_module(), float(pool.max() - pool.min())
    generator = torch.Generator().manual_seed(seed)
    ratios: list[float] = []
    guesses: list[float] = []
    recognised: list[bool] = []
    for victim in victims:
        stolen = stolen_gradient(setting, sent, observer=observer, victim=victim, round_number=round_number)
        row = torch.cat([stolen.gradient, stolen.row[len(stolen.gradient) :]])
        found = inputs_of_linear_layer(module, to_tensors(row, world.layout), size=pool.shape[1])
        by_matching = inputs_by_matching(setting, stolen, seed=seed + victim, steps=steps).flatten(1)
        found = torch.cat([found.clamp(pool.min(), pool.max()), by_matching]).to(pool.dtype)
        truth = stolen.inputs.flatten(1)
        data = world.trainer.data
        elsewhere = np.setdiff1d(data.indices, data.indices[data.offsets[victim] : data.offsets[victim + 1]])
        order = torch.randperm(len(elsewhere), generator=generator)[: len(found)]
        others = pool[torch.from_numpy(elsewhere)[order]]
        matched = _assigned(found, truth)
        ratios += _psnr(matched, truth, span=span)
        recognised += _nearest(matched, truth, pool)
        guesses += _psnr(_assigned(others, truth), truth, span=span)
    return InversionFindings(
        batches=len(victims),
        samples=len(ratios),
        psnr=float(np.mean(ratios)),
        psnr_of_others=float(np.mean(guesses)),
        recognised=float(np.mean(recognised)),
        chance=1 / len(pool),
    )


def _assigned(found: Tensor, truth: Tensor) -> Tensor:
    """One reconstruction for each true input, such that all together are nearest."""
    distances = torch.cdist(truth, found).square().numpy()
    rows, columns = linear_sum_assignment(distances)
    order: NDArray[np.int64] = columns[np.argsort(rows)]
    return found[torch.from_numpy(order)]


def _psnr(found: Tensor, truth: Tensor, *, span: float) -> list[float]:
    errors = (found - truth).square().mean(dim=1).clamp(min=1e-10 * span**2)
    ratios: list[float] = (10 * torch.log10(span**2 / errors)).tolist()
    return ratios


def _nearest(found: Tensor, truth: Tensor, pool: Tensor) -> list[bool]:
    nearest = pool[torch.cdist(found, pool).argmin(dim=1)]
    same: list[bool] = (nearest == truth).all(dim=1).tolist()
    return same
