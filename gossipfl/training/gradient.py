"""Losses and gradients of many rows at once, each on its own batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gossipfl.codecs import is_finite
from gossipfl.errors import InvalidTask
from gossipfl.layout import Layout
from gossipfl.randomness import seeded
from gossipfl.tasks.objective import Objective, PlainLoss
from gossipfl.tasks.one_by_one import are_one_by_one
from gossipfl.tasks.samples import Tree, copied, map_leaves, take
from gossipfl.training.differentiated import Differentiated
from gossipfl.training.optimisers import Reached
from gossipfl.training.own_module import Loss, OwnModule
from gossipfl.training.together import Together
from gossipfl.training.trial import Habits, try_out

__all__ = ["RowGradients", "row_gradients"]

logger = logging.getLogger(__name__)

_LONGEST_REASON = 150
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True)
class RowGradients:
    """Gradients of rows. Made by `row_gradients`; not to be called from two threads at once."""

    _own: OwnModule
    _layout: Layout
    _loss: Loss
    _habits: Habits
    _example: tuple[Tree, Tree]
    _initial_row: Callable[[], Tensor]
    dtype: torch.dtype

    @cached_property
    def _known_row(self) -> Tensor:
        """The row that the module was tried with; a peer, with its one row, never needs it again."""
        return self._initial_row()

    @cached_property
    def _device(self) -> torch.device:
        return next((each.device for each in self._own.module.parameters()), torch.device("cpu"))

    @property
    def constant(self) -> frozenset[str]:
        """Names of frozen parameters and buffers that rows can leave out, for the module has them and keeps them.

        Where one is seen to change, others may do so later: target networks, every so many steps. They cannot if
        rows can be batched, for then nothing depends on the numbers of a row that goes through.
        """
        found = self._habits.fixed & {entry.name for entry in self._layout.entries if entry.size}
        return found if found and (not self.changed or self.vectorised) else frozenset()

    @property
    def all_count_alike(self) -> bool:
        """Whether no sample of any node is ignored or has a weight."""
        return isinstance(self._loss, PlainLoss)

    @property
    def module(self) -> nn.Module:
        """The module that rows go through."""
        return self._own.module

    def laid_out(self, layout: Layout) -> RowGradients:
        """The same for rows of another layout: one that leaves out what is `constant`."""
        first, kept = self._initial_row, {entry.name for entry in layout.entries}
        places = [slice(e.offset, e.offset + e.size) for e in self._layout.entries if e.name in kept]

        def initial_row() -> Tensor:
            row = first()
            return torch.cat([row[place] for place in places])

        own = OwnModule(self._own.module, layout)
        if not self.changes_parameters:
            own.trust()
        made = replace(self, _own=own, _layout=layout, _initial_row=initial_row)
        if "vectorised" in vars(self):  # it has been tried, and said
            vars(made)["vectorised"] = self.vectorised
        return made

    @property
    def draws(self) -> bool:
        """Whether the module draws random numbers (dropout masks)."""
        return self._habits.draws

    @property
    def changes_parameters(self) -> bool:
        """Whether the forward or backward pass writes into parameters."""
        return self._habits.changes_parameters

    @property
    def trainable_size(self) -> int:
        """Width of a gradient."""
        return self._layout.trainable_size

    @property
    def trained_widths(self) -> tuple[int, ...]:
        """Widths of the tensors of a gradient."""
        return self._layout.trained_widths

    @property
    def changed(self) -> frozenset[str]:
        """Names of frozen parameters and buffers that a pass has changed so far."""
        untrained = {entry.name for entry in self._layout.entries if entry.group == "untrained"}
        return frozenset(untrained - self._own.fixed())

    @cached_property
    def vectorised(self) -> bool:
        """Whether all rows go through the module together.

        Modules that draw at random, change their parameters while they run, or have operators that cannot be
        batched over parameters run row by row: the same results, more slowly. It is tried when it is first asked
        for, with more than one row: batching makes torch load 50 MB of libraries, which a peer with its one row
        can do without.
        """
        try:
            if self.draws:
                raise RuntimeError("it draws random numbers")  # noqa: TRY301
            if self.changes_parameters:
                raise RuntimeError("it changes its parameters while it runs")  # noqa: TRY301
            if self._habits.has_hooks:  # which may act on some gradients only
                raise RuntimeError("hooks see its gradients")  # noqa: TRY301
            self.require_same()
        except Exception as error:  # whatever it is: the same batch has gone through unbatched
            logger.warning(
                "%s cannot be batched over rows and is trained row by row, more slowly in simulations: %s",
                type(self._own.module).__name__,
                (str(error).splitlines() or [type(error).__name__])[0][:_LONGEST_REASON],
            )
            return False
        return True

    def require_same(self) -> None:
        """Require that two rows together give what each gives alone; a `RuntimeError` if they do not."""
        row, (inputs, targets) = self._known_row, self._example
        generator = torch.Generator().manual_seed(0)
        noise = 0.01 * torch.randn(self._layout.trainable_size, generator=generator).to(row)
        other = row.clone()
        other[: self._layout.trainable_size] += noise
        rows = torch.stack([row, other])
        inputs, targets = map_leaves(lambda leaf: torch.stack([leaf, leaf.flip(0)]), (inputs, targets))
        given = rows.clone()
        together = self.together(rows, inputs, targets)
        if not _all_equal(rows, given):
            raise RuntimeError("it writes into the rows that it is given")
        alone = self._row_by_row(rows, inputs, targets, [])
        # Rounding: what becomes of differences of the last digits, as where a norm divides by a small deviation.
        rounded = given.clone()
        rounded[:, : self._layout.trainable_size] *= 1 + torch.finfo(row.dtype).eps * torch.sign(noise)
        nearly = self._row_by_row(rounded, inputs, targets, [])
        single = self.together(rows[:1], *map_leaves(lambda leaf: leaf[:1], (inputs, targets)))
        for one, close, of_all, first in zip(alone[:4], nearly[:4], together[:4], single[:4], strict=True):
            tolerance = _TOLERANCE[row.dtype] * max(_size(one), 1e-3) + 30 * _size(one - close)
            for found in (of_all, first):
                if not torch.allclose(one[: len(found)], found, rtol=0, atol=tolerance, equal_nan=True):
                    raise RuntimeError("rows together come out otherwise than one by one")

    def __call__(self, rows: Tensor, inputs: Tree, targets: Tree, seeds: list[int]) -> Differentiated:
        """Evaluate the loss, its gradient and the updated buffers of every row.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, D]``, float32.
        inputs, targets : Tree
            Shape ``[B, S, ...]``: S samples for each row.
        seeds : list of int
            For each row, the seed of whatever the module draws at random; not read unless ``draws``.
        """
        # On another device than the module's a row is computed as several are, which need none of its parameters.
        alone = len(rows) == 1 and rows.device == self._device
        if not alone and self.vectorised and self._is_fixed_alike(rows):
            return self.together(rows, inputs, targets)
        return self._row_by_row(rows, inputs, targets, seeds)

    def _is_fixed_alike(self, rows: Tensor) -> bool:
        """Whether what never changes is in all rows as the module has it itself."""
        known, fixed = self._known_row, self._habits.fixed
        places = [slice(e.offset, e.offset + e.size) for e in self._layout.entries if e.name in fixed]
        return all(_all_equal(rows[:, place], known[place]) for place in places)

    def _row_by_row(self, rows: Tensor, inputs: Tree, targets: Tree, seeds: list[int]) -> Differentiated:
        results = []
        if self._habits.changes_samples:
            inputs, targets = copied((inputs, targets))
        for index, row in enumerate(rows):
            batch, compared = take((inputs, targets), index)
            if self.draws:
                with seeded(seeds[index], *self._habits.generators, everything=not self._habits.only_torch):
                    results.append(self._own.differentiate(row, batch, compared, self._loss))
            else:
                results.append(self._own.differentiate(row, batch, compared, self._loss))
        losses, gradients, trainable, untrained, reached = (
            torch.stack(each) if len(each) > 1 else each[0][None] for each in zip(*results, strict=True)
        )
        return Differentiated(
            losses.to(rows.dtype),
            gradients,
            untrained,
            trainable,
            Reached(reached.to(rows.device), self._layout.trained_widths, everything=bool(reached.all())),
        )

    def together(self, rows: Tensor, inputs: Tree, targets: Tree) -> Differentiated:
        """Evaluate all rows at once: pure tensor arithmetic, so it can be traced. Only where `vectorised`."""
        if are_one_by_one():
            return self._row_by_row(rows, inputs, targets, [])
        if self._habits.changes_samples:
            inputs, targets = copied((inputs, targets))
        return self._together(rows, inputs, targets)

    @cached_property
    def _together(self) -> Together:
        return Together(self._own.module, self._layout, self._loss, self._habits.fixed)


def row_gradients(
    module: nn.Module,
    layout: Layout,
    objective: Objective,
    *,
    example: tuple[Tree, Tree],
    targets: Tree,
    dtype: torch.dtype = torch.float32,
    common_start: bool = False,
    initial_row: Callable[[], Tensor],
) -> RowGradients:
    """Prepare the gradient of a module's loss for rows.

    Parameters
    ----------
    module : torch.nn.Module
        Used in training mode, and overwritten.
    layout : Layout
        How rows are laid out.
    objective : Objective
        The loss, the mean over the samples of a batch.
    example : tuple of Tree
        A small batch, inputs and targets of shape ``[S, ...]``, on which the module and the loss are tried.
    targets : Tree
        All there are: whether some count for nothing.
    dtype : torch.dtype
        Of the rows, and so of the parameters that are trained.
    common_start : bool
        Whether all rows begin alike, so that what never changes is the same in all of them.
    initial_row : callable
        Returns the module's row, ``[D]``, as it is now.

    Raises
    ------
    InvalidTask
        If the module or the loss fails on the example, compares outputs and targets of different shapes, or does
        not give the same twice; if the loss is not one differentiable number; or if parameters have another dtype.
    """
    for entry in layout.entries:
        if entry.group != "untrained" and entry.torch_dtype != dtype:
            raise InvalidTask(
                f"the parameter {entry.name!r} is {entry.dtype}",
                expected=f"{str(dtype).removeprefix('torch.')}: what rows are trained and averaged in",
                got=entry.dtype,
                remedy="Convert the module in its factory with .float(); for arithmetic in half precision use "
                "torch.autocast in forward; for double precision set precision = 'float64' in a scenario.",
            )

    def watched(outputs: Any, compared: Tree) -> Tensor:  # noqa: ANN401 - whatever a module returns
        value = objective.checked(outputs, compared)
        objective.try_sizes(*map_leaves(_detached, (outputs, compared)))
        return value

    own = OwnModule(module, layout)
    row = initial_row()
    if not is_finite(row[: layout.trainable_size]):
        raise InvalidTask(
            "the initial parameters hold NaN or infinities",
            expected="finite numbers",
            remedy="Initialise every parameter: torch.empty does not.",
        )
    habits = try_out(own, layout, row, example, watched=watched, loss=objective)
    if not habits.changes_parameters:
        own.trust()
    if not common_start:
        habits = replace(habits, fixed=frozenset())
    loss = objective if objective.may_count_nothing(targets) else PlainLoss(objective)
    return RowGradients(own, layout, loss, habits, example, initial_row, dtype)


def _detached(leaf: Any) -> Any:  # noqa: ANN401
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def _size(tensor: Tensor) -> float:
    """Largest magnitude among finite numbers."""
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _all_equal(first: Tensor, second: Tensor) -> bool:
    return bool(((first == second) | (first.isnan() & second.isnan())).all())
