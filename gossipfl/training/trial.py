"""Trial of a module and its loss on one batch: what it draws, what it changes, whether it gives the same twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gossipfl.constants import constants_of, difference
from gossipfl.errors import GossipflError, InvalidTask
from gossipfl.layout import Layout
from gossipfl.randomness import clocks_read, own_generators, seeded, watched
from gossipfl.tasks.samples import Tree, copied, describe, leaves
from gossipfl.training.hooks import HookWatch, holds_hooks
from gossipfl.training.own_module import Loss, OwnModule

__all__ = ["Habits", "try_out"]

_LARGE = 30.0
_BLOCK = 2**20  # numbers compared at a time


@dataclass(frozen=True, slots=True)
class Habits:
    """What a module does while it runs.

    Parameters
    ----------
    draws : bool
        Whether it draws random numbers.
    only_torch : bool
        Whether those are torch's alone.
    generators : tuple
        Generators of its own that it may draw from.
    changes_parameters : bool
        Whether the forward or backward pass writes into parameters.
    changes_samples : bool
        Whether it, or the loss, writes into inputs or targets.
    has_hooks : bool
        Whether hooks see its gradients.
    fixed : frozenset of str
        Frozen parameters and buffers that it leaves as they are.
    """

    draws: bool
    only_torch: bool
    generators: tuple[Any, ...]
    changes_parameters: bool
    changes_samples: bool
    has_hooks: bool
    fixed: frozenset[str]


def try_out(
    own: OwnModule, layout: Layout, row: Tensor, example: tuple[Tree, Tree], *, watched: Loss, loss: Loss
) -> Habits:
    """Differentiate a batch three times: with the loss watched, and twice more to compare.

    Parameters
    ----------
    own : OwnModule
    layout : Layout
    row : Tensor
        Shape ``[D]``.
    example : tuple of Tree
        Inputs and targets of shape ``[S, ...]``.
    watched : callable
        The loss, looking at what it compares.
    loss : callable
        The loss of training.

    Raises
    ------
    InvalidTask
        If it fails, is not one differentiable number, or does not give the same twice.
    """
    generators = own_generators(own.module)
    changes_samples = False

    def differentiate(loss: Loss) -> tuple[Tensor, ...]:
        nonlocal changes_samples
        inputs, targets = batch = copied(example)
        with seeded(0, *generators):
            found = own.differentiate(row, inputs, targets, loss)
        changes_samples |= any(leaf._version for leaf in leaves(batch) if isinstance(leaf, Tensor))
        return found

    form = _form(own.module)
    with _named(example):
        differentiate(lambda outputs, targets: _required(watched(outputs, targets)))
        inputs, targets = copied(example)
        with HookWatch() as hooks, clocks_read() as clocks, seeded(0, *generators), _drawing() as drawn:
            first = own.differentiate(row, inputs, targets, loss)
        before = constants_of(own.module, layout)
        second = differentiate(loss)
        after = constants_of(own.module, layout)
    if "torch.compile" in clocks:
        raise InvalidTask(
            "the module has an operator that torch compiles while it runs, which is not safe in several threads",
            expected="operators that are computed at once",
            got="torch.cond, while_loop, scan or flex_attention",
            remedy="Use torch.where, a Python if or loop, or scaled_dot_product_attention.",
        )
    _require_repeatable(first, second, clocks)
    del first, second  # a large model's would be in the way of what follows
    _require_same_form(own.module, form)
    changed = difference(before, after)
    if changed is not None:
        raise InvalidTask(
            f"the module changes {changed!r} from batch to batch",
            expected="all that training changes among its parameters and persistent buffers",
            remedy="Register it with register_buffer(name, tensor), and change it with copy_().",
        )
    return Habits(
        draws=bool(drawn) or bool(generators),
        only_torch=not (drawn.python or drawn.numpy),
        generators=generators,
        changes_parameters=own.wrote_parameters or _changes_large(own, layout, row, copied(example), loss),
        changes_samples=changes_samples,
        has_hooks=hooks.seen or holds_hooks(own.module),
        fixed=own.fixed(),
    )


def _changes_large(
    own: OwnModule, layout: Layout, row: Tensor, example: tuple[Tree, Tree], loss: Loss
) -> bool:
    """Whether parameters that are far from the initial ones are changed: clamped, or scaled to a norm."""
    width, large = layout.trainable_size, row.clone()
    generator = torch.Generator(row.device).manual_seed(0)
    large[:width].normal_(std=_LARGE, generator=generator)
    try:
        with seeded(0):
            after = own.differentiate(large, *example, loss)[2]
    except Exception:  # nothing is said of a module that fails there
        return False
    return not torch.equal(after, large[:width])


_drawing = watched


def _form(module: nn.Module) -> tuple[dict[str, bool], frozenset[str]]:
    """Which parts are in training mode, and the names of parameters."""
    modes = {name: part.training for name, part in module.named_modules()}
    return modes, frozenset(name for name, _ in module.named_parameters(remove_duplicate=False))


def _require_same_form(module: nn.Module, before: tuple[dict[str, bool], frozenset[str]]) -> None:
    modes, names = _form(module)
    added = sorted(names ^ before[1])
    if added:
        raise InvalidTask(
            f"the module makes or removes the parameter {added[0]!r} while it runs",
            expected="all parameters made in its constructor: others are neither trained nor shared",
            remedy="Make it in __init__; a constant or a cache can be a buffer.",
        )
    switched = [
        name or type(module).__name__ for name, mode in modes.items() if before[0].get(name, mode) != mode
    ]
    if switched:
        raise InvalidTask(
            f"the module switches {switched[0]!r} between training and evaluation while it runs",
            expected="a mode that stays: the first batch would be another's",
            remedy="Override train(mode) for parts that are always in evaluation.",
        )


def _required(value: Any) -> Tensor:  # noqa: ANN401 - whatever a loss returns
    """Require one differentiable number."""
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
    if value.isnan():
        raise InvalidTask(
            "the loss of the initial model is NaN",
            expected="a number",
            remedy="Look for 0 / 0, ∞ − ∞, logarithms and roots of negative numbers in the module and the loss.",
        )
    return value


def _require_repeatable(first: tuple[Tensor, ...], second: tuple[Tensor, ...], clocks: set[str]) -> None:
    same = all(
        torch.allclose(part, other_part, rtol=1e-4, atol=1e-6, equal_nan=True)
        for one, other in zip(first, second, strict=True)
        for part, other_part in zip(
            torch.split(one.reshape(-1), _BLOCK), torch.split(other.reshape(-1), _BLOCK), strict=True
        )
    )
    if same and not clocks:
        return
    raise InvalidTask(
        "the module or its loss depends on something besides its parameters and the batch",
        expected="the same from the same seeds, twice",
        got=f"numbers from {', '.join(sorted(clocks))}" if clocks else "other numbers the second time",
        remedy="Draw with torch, random or NumPy's global functions, or with generators that are attributes of "
        "the module: these are seeded for each node and step. Keep what is remembered in persistent buffers.",
    )


class _named:  # noqa: N801 - a context manager in the place of a function
    """Raise whatever fails as `InvalidTask`."""

    def __init__(self, example: tuple[Tree, Tree]) -> None:
        self._example = example

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, GossipflError) or not isinstance(error, Exception):
            return
        inputs, targets = self._example
        raise InvalidTask(
            "the module or its loss fails on a batch of the task's own data",
            got=f"{type(error).__name__}: {error}",
            remedy=f"The batch had inputs {describe(inputs)} and targets {describe(targets)}.",
        ) from error
