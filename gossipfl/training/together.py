"""Losses and gradients as pure tensor arithmetic: of rows together, or of one row as its module computes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import vmap

from gossipfl.layout import Entry, Layout
from gossipfl.tasks.batchable import BatchableOperators, OneRowOperators
from gossipfl.tasks.own_tensors import OwnTensors
from gossipfl.tasks.samples import Tree, call_module, take
from gossipfl.training.differentiated import Differentiated
from gossipfl.training.optimisers import Reached
from gossipfl.training.own_module import Loss

__all__ = ["Together"]

Tensors = Mapping[str, Tensor]


class Together:
    """Gradients of rows that go through a module together, which can be traced.

    Parameters
    ----------
    module : torch.nn.Module
        Pure tensor arithmetic, which can be batched over its parameters.
    layout : Layout
        Of the rows.
    loss : callable
        Of outputs and targets.
    fixed : collection of str
        Names of frozen parameters and buffers that the module has itself, whatever is in the rows.
    """

    def __init__(self, module: nn.Module, layout: Layout, loss: Loss, fixed: Collection[str]) -> None:
        self._module, self._loss, self._width = module, loss, layout.trainable_size
        self._trained = [entry for entry in layout.entries if entry.group != "untrained"]
        self._untrained = [entry for entry in layout.entries if entry.group == "untrained"]
        self._changing = [entry for entry in self._untrained if entry.name not in fixed]
        self._widths = layout.trained_widths
        in_rows = {entry.name for entry in layout.entries} - set(fixed)
        self._own = OwnTensors(module, lambda name: name not in in_rows)

    def __call__(self, rows: Tensor, inputs: Tree, targets: Tree) -> Differentiated:
        """Evaluate rows ``[B, D]`` on batches ``[B, S, ...]``."""
        return (self._of_one if len(rows) == 1 else self._of_many)(rows, inputs, targets)

    def _of_many(self, rows: Tensor, inputs: Tree, targets: Tree) -> Differentiated:
        leaves, rest = self._leaves(rows), self._rest(rows)
        own = self._own.on(rows.device)

        def loss_of(
            leaves: Tensors, rest: Tensors, inputs: Tree, targets: Tree
        ) -> tuple[Tensor, dict[str, Tensor]]:
            return self._loss_of(leaves, rest, own, inputs, targets)

        with BatchableOperators(), torch.enable_grad():
            losses, after = vmap(loss_of)(leaves, rest, inputs, targets)
            # A row's loss depends on no other row, so the gradient of the sum holds the gradient of each.
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        return self._packed(rows, losses, leaves, found, after)

    def _of_one(self, rows: Tensor, inputs: Tree, targets: Tree) -> Differentiated:
        """Evaluate a single row without the dimension of rows: many operators are slower with it."""
        row = rows[0]
        leaves, rest = self._leaves(row), self._rest(row)
        inputs, targets = take((inputs, targets), 0)
        with OneRowOperators(), torch.enable_grad():
            loss, after = self._loss_of(leaves, rest, self._own.on(rows.device), inputs, targets)
            found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        of_row = self._packed(row, loss, leaves, found, after)
        losses, gradients, untrained = (each[None] for each in of_row[:3])
        return Differentiated(losses, gradients, untrained, rows[:, : self._width], of_row.reached)

    def _leaves(self, rows: Tensor) -> dict[str, Tensor]:
        return {entry.name: entry.read(rows).detach().requires_grad_() for entry in self._trained}

    def _rest(self, rows: Tensor) -> dict[str, Tensor]:
        # BatchNorm writes its buffers in place: let it write into copies. What is the same in all rows, and stays,
        # the module has itself.
        return {entry.name: entry.read(rows).clone() for entry in self._changing}

    def _loss_of(
        self, leaves: Tensors, rest: Tensors, own: Tensors, inputs: Tree, targets: Tree
    ) -> tuple[Tensor, dict[str, Tensor]]:
        tensors = {**leaves, **rest, **own}
        outputs = call_module(self._module, tensors, inputs)
        return self._loss(outputs, targets), {name: tensors[name].detach() for name in rest}

    def _packed(
        self,
        rows: Tensor,
        losses: Tensor,
        leaves: Tensors,
        found: Iterable[Tensor | None],
        after: Tensors,
    ) -> Differentiated:
        """Pack what was found for rows ``[B, D]``, or without the first dimension of all but ``reached``."""
        found = list(found)
        gradients = {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
        }
        reached = None
        if any(gradient is None for gradient in found):
            count = len(rows) if rows.dim() > 1 else 1
            marks = [rows.new_full((count, 1), each is not None, dtype=torch.bool) for each in found]
            reached = Reached(torch.cat(marks, dim=1), self._widths)
        return Differentiated(
            losses.detach().to(rows.dtype),
            _flat(self._trained, gradients, rows),
            _flat(self._untrained, after, rows),
            rows[..., : self._width],
            reached,
        )


def _flat(entries: Iterable[Entry], tensors: Tensors, rows: Tensor) -> Tensor:
    """Parts of rows from named tensors; of what has none, those of ``rows``."""
    flat = [
        entry.flat(tensors[entry.name], dtype=rows.dtype)
        if entry.name in tensors
        else rows[..., entry.offset : entry.offset + entry.size]
        for entry in entries
    ]
    return torch.cat(flat, dim=-1) if flat else rows[..., :0]
