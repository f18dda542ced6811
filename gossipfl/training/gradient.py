"""Losses and gradients of many rows at once, each on its own batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from gossipfl.errors import GossipflError, InvalidTask
from gossipfl.global_generator import global_generator
from gossipfl.rows import Entry, Layout, to_row
from gossipfl.tasks.objective import Objective
from gossipfl.tasks.recurrent import BatchableRecurrences
from gossipfl.tasks.samples import Tree, call_module, describe, map_leaves, take

__all__ = ["RowGradients", "row_gradients"]

logger = logging.getLogger(__name__)

Loss = Callable[[Any, Any], Tensor]
Tensors = dict[str, Tensor]
_LossOf = Callable[[Tensors, Tensors, Tree, Tree], tuple[Tensor, Tensors]]


@dataclass(frozen=True)
class RowGradients:
    """Gradients of rows. Made by `row_gradients`; not to be called from two threads at once.

    Parameters
    ----------
    draws : bool
        Whether the module draws random numbers (dropout masks).
    """

    draws: bool
    _trained: tuple[Entry, ...]
    _untrained: tuple[Entry, ...]
    _loss_of: _LossOf
    _name: str
    _example: tuple[Tensor, Tree, Tree]

    @cached_property
    def vectorised(self) -> bool:
        """Whether all rows go through the module together.

        Modules with random layers or operators that cannot be batched over parameters run row by row: the
        same results, more slowly. It is tried when it is first asked for, with more than one row: batching
        makes torch load 50 MB of libraries, which a peer with its one row can do without.
        """
        row, inputs, targets = map_leaves(lambda leaf: leaf.expand(2, *leaf.shape), self._example)
        try:
            if self.draws:
                raise RuntimeError("its layers draw random numbers")  # noqa: TRY301
            self._differentiate_together(row, inputs, targets)
        except Exception as error:  # whatever it is: the same batch has gone through unbatched
            logger.info(
                "%s cannot be batched over rows and is trained row by row, more slowly in simulations: %s",
                self._name,
                str(error).splitlines()[0],
            )
            return False
        return True

    def __call__(
        self, rows: Tensor, inputs: Tree, targets: Tree, seeds: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the loss, its gradient and the updated buffers of every row.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, D]``, float32.
        inputs, targets : Tree
            Shape ``[B, S, ...]``: S samples for each row.
        seeds : list of int
            For each row, the seed of whatever the module draws at random; not read unless ``draws``.

        Returns
        -------
        losses : Tensor
            Shape ``[B]``.
        gradients : Tensor
            Shape ``[B, trainable_size]``, float32.
        untrained : Tensor
            Shape ``[B, D − trainable_size]``: frozen parameters as before, buffers as the module left them.
        """
        if len(rows) > 1 and self.vectorised:
            return self._differentiate_together(rows, inputs, targets)
        results = []
        with global_generator(enabled=self.draws) as generator:
            for index, row in enumerate(rows):
                if self.draws:
                    generator.manual_seed(seeds[index])
                own = take((inputs, targets), index)
                results.append(self._differentiate(self._loss_of, row, *own))
        losses, gradients, untrained = zip(*results, strict=True)
        return torch.stack(losses), torch.stack(gradients), torch.stack(untrained)

    def _differentiate_together(
        self, rows: Tensor, inputs: Tree, targets: Tree
    ) -> tuple[Tensor, Tensor, Tensor]:
        with BatchableRecurrences():
            return self._differentiate(vmap(self._loss_of), rows, inputs, targets)

    def _differentiate(
        self, loss_of: _LossOf, rows: Tensor, inputs: Tree, targets: Tree
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Differentiate one row (``[D]``), or several (``[B, D]``) where ``loss_of`` takes several."""
        leaves = {name: view.detach().requires_grad_() for name, view in _views(rows, self._trained)}
        with torch.enable_grad():
            losses, after = loss_of(leaves, dict(_views(rows, self._untrained)), inputs, targets)
            # A row's loss depends on no other row, so the gradient of the sum holds the gradient of each.
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        return losses.detach(), _packed(gradients, rows), _packed(after.values(), rows)


def row_gradients(
    module: nn.Module, layout: Layout, objective: Objective, *, example: tuple[Tree, Tree], targets: Tree
) -> RowGradients:
    """Prepare the gradient of a module's loss for rows.

    Parameters
    ----------
    module : torch.nn.Module
        Used in training mode; its own state is never read nor written.
    layout : Layout
        How rows are laid out.
    objective : Objective
        The loss, the mean over the samples of a batch.
    example : tuple of Tree
        A small batch, inputs and targets of shape ``[S, ...]``, on which the module and the loss are tried.
    targets : Tree
        All there are: whether some count for nothing.

    Raises
    ------
    InvalidTask
        If the module or the loss fails on the example, compares outputs and targets of different shapes, or the
        loss is not one differentiable number.
    """
    training_module = module.train()
    trained = tuple(entry for entry in layout.entries if entry.group != "untrained")
    untrained = tuple(entry for entry in layout.entries if entry.group == "untrained")

    def loss_of_batch(loss: Loss) -> _LossOf:
        def loss_of(leaves: Tensors, rest: Tensors, inputs: Tree, targets: Tree) -> tuple[Tensor, Tensors]:
            tensors = {entry.name: leaves[entry.name].to(entry.torch_dtype) for entry in trained}
            for entry in untrained:  # BatchNorm writes its buffers in place: let it write into a copy
                tensors[entry.name] = rest[entry.name].to(entry.torch_dtype, copy=True)
            outputs = call_module(training_module, tensors, inputs)
            return loss(outputs, targets), {entry.name: tensors[entry.name].detach() for entry in untrained}

        return loss_of

    def watched(outputs: Any, compared: Tree) -> Tensor:  # noqa: ANN401 - whatever a module returns
        value = objective.checked(outputs, compared)
        objective.try_sizes(*map_leaves(_detached, (outputs, compared)))
        return value

    row = to_row(module, layout)
    views = dict(_views(row, trained)), dict(_views(row, untrained))
    draws = _try_out(loss_of_batch(watched), *views, example)
    counted_unequally = objective.may_count_nothing(targets)
    return RowGradients(
        draws=draws,
        _trained=trained,
        _untrained=untrained,
        _loss_of=loss_of_batch(objective if counted_unequally else objective.loss),
        _name=type(module).__name__,
        _example=(row, *example),
    )


def _detached(leaf: Any) -> Any:  # noqa: ANN401
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def _try_out(loss_of: _LossOf, leaves: Tensors, rest: Tensors, example: tuple[Tree, Tree]) -> bool:
    """Try a batch; return whether random numbers were drawn for it."""
    inputs, targets = example
    try:
        with global_generator(), torch.enable_grad():
            before = torch.get_rng_state()
            value = loss_of({name: leaf.requires_grad_() for name, leaf in leaves.items()}, rest, *example)[0]
            draws = not torch.equal(before, torch.get_rng_state())
    except GossipflError:
        raise
    except Exception as error:
        raise InvalidTask(
            "the module or its loss fails on a batch of the task's own data",
            got=f"{type(error).__name__}: {error}",
            remedy=f"The batch had inputs {describe(inputs)} and targets {describe(targets)}.",
        ) from error
    if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
        raise InvalidTask(
            "the loss of a batch must be one number",
            expected="a floating-point scalar tensor, the mean over the batch",
            got=describe(value),
            remedy="Use reduction='mean'.",
        )
    if not value.requires_grad:
        raise InvalidTask(
            "the loss does not depend on any trainable parameter",
            expected="a loss that can be differentiated",
            remedy="Look for detach(), item(), no_grad() or integer outputs in the module and the loss.",
        )
    return draws


def _views(rows: Tensor, entries: Iterable[Entry]) -> Iterable[tuple[str, Tensor]]:
    """Views of rows (``[..., D]``) as named float32 tensors, in the order of ``entries``."""
    for entry in entries:
        view = rows[..., entry.offset : entry.offset + entry.size]
        yield entry.name, view.reshape((*rows.shape[:-1], *entry.shape))


def _packed(tensors: Iterable[Tensor], rows: Tensor) -> Tensor:
    leading = rows.shape[:-1]
    flat = [tensor.reshape(*leading, tensor.shape[len(leading) :].numel()) for tensor in tensors]
    return torch.cat([part.to(rows.dtype) for part in flat], dim=-1) if flat else rows[..., :0]
