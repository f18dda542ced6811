"""Losses and gradients of many rows at once, each on its own batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from gossipfl.errors import InvalidTask
from gossipfl.rows import Layout, to_row, to_tensors

__all__ = ["RowGradients", "row_gradients"]

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor], Tensor]
_BatchedGradient = Callable[[Tensor, Tensor, Tensor, list[int]], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class RowGradients:
    """Gradients of rows.

    Parameters
    ----------
    vectorised : bool
        Whether all rows go through the module together. Modules with random layers (dropout) or operators
        that cannot be batched over parameters run row by row: the same results, more slowly.
    """

    vectorised: bool
    _run: _BatchedGradient

    def __call__(
        self, rows: Tensor, inputs: Tensor, targets: Tensor, seeds: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the loss, its gradient and the updated buffers of every row.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, D]``, float32.
        inputs, targets : Tensor
            Shape ``[B, S, ...]``: S samples for each row.
        seeds : list of int
            For each row, the seed of whatever the module draws at random (dropout masks).

        Returns
        -------
        losses : Tensor
            Shape ``[B]``.
        gradients : Tensor
            Shape ``[B, trainable_size]``, float32.
        untrained : Tensor
            Shape ``[B, D − trainable_size]``: frozen parameters as before, buffers as the module left them.
        """
        return self._run(rows, inputs, targets, seeds)


def row_gradients(
    module: nn.Module, layout: Layout, loss: Loss, *, example: tuple[Tensor, Tensor]
) -> RowGradients:
    """Prepare the gradient of a module's loss for rows.

    Parameters
    ----------
    module : torch.nn.Module
        Used in training mode; its own state is never read nor written.
    layout : Layout
        How rows are laid out.
    loss : callable
        ``loss(outputs, targets) -> scalar``, the mean over the samples of a batch.
    example : tuple of Tensor
        A small batch, inputs and targets of shape ``[S, ...]``, on which the module and the loss are tried.

    Raises
    ------
    InvalidTask
        If the module or the loss fails on the example, or the loss is not one finite-dtype scalar.
    """
    trainable = layout.trainable_size
    training_module = module.train()
    untrained = tuple(entry for entry in layout.entries if entry.group == "untrained")

    def loss_of(trained: Tensor, rest: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        tensors = to_tensors(torch.cat([trained, rest]), layout)
        for entry in untrained:  # BatchNorm writes its buffers in place: let it write into a copy
            tensors[entry.name] = tensors[entry.name].clone()
        outputs = functional_call(training_module, tensors, (inputs,))
        after = [tensors[entry.name].detach().reshape(-1).to(torch.float32) for entry in untrained]
        return loss(outputs, targets), torch.cat(after) if after else rest

    gradient = grad_and_value(loss_of, has_aux=True)

    def run_batched(
        rows: Tensor, inputs: Tensor, targets: Tensor, seeds: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        del seeds
        gradients, (losses, rest) = vmap(gradient)(rows[:, :trainable], rows[:, trainable:], inputs, targets)
        return losses, gradients, rest

    def run_each(
        rows: Tensor, inputs: Tensor, targets: Tensor, seeds: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        results = []
        for row, own_inputs, own_targets, seed in zip(rows, inputs, targets, seeds, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.random.manual_seed(seed)
                own_gradient, (own_loss, own_rest) = gradient(
                    row[:trainable], row[trainable:], own_inputs, own_targets
                )
            results.append((own_loss, own_gradient, own_rest))
        losses, gradients, rest = zip(*results, strict=True)
        return torch.stack(losses), torch.stack(gradients), torch.stack(rest)

    row = to_row(module, layout)
    inputs, targets = example
    try:
        with torch.random.fork_rng(devices=[]):
            value = loss_of(row[:trainable], row[trainable:], inputs, targets)[0]
    except Exception as error:
        raise InvalidTask(
            "the module or its loss fails on a batch of the task's own data",
            came=f"{type(error).__name__}: {error}",
            remedy=f"The batch had inputs {_form(inputs)} and targets {_form(targets)}.",
        ) from error
    if value.shape != () or not value.is_floating_point():
        raise InvalidTask(
            "the loss of a batch must be one number",
            expected="a floating-point scalar, the mean over the batch",
            came=f"shape {list(value.shape)}, {value.dtype}",
            remedy="Use reduction='mean'.",
        )
    try:
        run_batched(row.expand(2, -1), inputs.expand(2, *inputs.shape), targets.expand(2, *targets.shape), [])
    except RuntimeError as error:
        logger.warning(
            "%s cannot be batched over rows and is trained row by row, more slowly in simulations: %s",
            type(module).__name__,
            str(error).splitlines()[0],
        )
        return RowGradients(vectorised=False, _run=run_each)
    return RowGradients(vectorised=True, _run=run_batched)


def _form(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {tensor.dtype}"
