"""Evaluation of models on samples: the loss and the metrics of rows, alone or many at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from gossipfl.errors import InvalidTask
from gossipfl.layout import Layout
from gossipfl.randomness import own_generators, seeded, watched
from gossipfl.rows import require_width, to_tensors
from gossipfl.tasks.batchable import BatchableOperators
from gossipfl.tasks.failures import failures_named
from gossipfl.tasks.metrics import Metric
from gossipfl.tasks.objective import Objective
from gossipfl.tasks.one_by_one import are_one_by_one
from gossipfl.tasks.own_tensors import OwnTensors
from gossipfl.tasks.samples import Tree, Weighted, call_module, copied, describe, leaves, take

__all__ = ["Evaluator"]

logger = logging.getLogger(__name__)

_SEED = 0
_SAMPLES_TRIED = 2
_TOLERANCE = 1e-3
_LARGE = 2**22  # numbers; of a smaller row a copy costs nothing
_ALIGNMENT = 64  # bytes: torch's own; products may depend on where their factors lie


@dataclass(frozen=True, slots=True)
class _Habits:
    """Whether an evaluation draws random numbers, writes into samples or rows, or differentiates by itself."""

    draws: bool
    changes_samples: bool
    changes_rows: bool = True
    differentiates: bool = False


class Evaluator:
    """The loss and the metrics of rows, with the module in evaluation mode.

    The module's draws come from one seed, so that a model has one value.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode from now on.
    layout : Layout
    objective : Objective
    metrics : mapping of str to callable
    name : str
        Of the task, for messages.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        objective: Objective,
        metrics: Mapping[str, Metric],
        *,
        name: str,
    ) -> None:
        self._module, self._layout, self._objective = module.eval(), layout, objective
        _release_memory(module, layout)  # every call brings its own
        in_rows = {entry.name for entry in layout.entries}
        self._own = OwnTensors(module, lambda name: name not in in_rows)
        self._metrics, self._name = metrics, name
        self._habits: _Habits | None = None
        self._batched: bool | None = None
        self._lock = threading.Lock()  # parameters of the one module are exchanged for those of a row

    @cached_property
    def _generators(self) -> tuple[Any, ...]:
        return own_generators(self._module)

    def __call__(self, rows: Tensor, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        """Evaluate rows ``[B, D]`` on samples ``[S, ...]``; see `gossipfl.tasks.Task.evaluate`."""
        return self._evaluated(rows, inputs, targets, each=False)

    def each(self, rows: Tensor, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        """Evaluate rows ``[B, D]``, each on samples of its own, ``[B, S, ...]``."""
        return self._evaluated(rows, inputs, targets, each=True)

    def _evaluated(self, rows: Tensor, inputs: Tree, targets: Tree, *, each: bool) -> dict[str, Tensor]:
        def of_row(place: int) -> tuple[Tree, Tree]:
            return take((inputs, targets), place) if each else (inputs, targets)

        require_width(rows, self._layout)
        failing = failures_named(
            f"the model, the loss or a metric of task {self._name!r} fails on the test samples",
            remedy=f"The samples have inputs {describe(inputs)} and targets {describe(targets)}.",
        )
        with self._lock, failing, torch.no_grad():
            if self._habits is None:
                self._habits = self._tried(rows[0], *_first(of_row(0)))
            if self._habits.differentiates:
                self._batched = False
            together = len(rows) > 1 and not are_one_by_one()
            if together and self._batched is None:
                self._batched = self._can_be_batched(rows[0], *_first(of_row(0)))
            if together and self._batched:
                try:
                    return self._together(rows, inputs, targets, each=each)
                except RuntimeError:  # an operator that only some samples need
                    self._batched = False
            found = [self._alone(row, *of_row(place)) for place, row in enumerate(rows)]
        return {name: torch.stack([one[name] for one in found]) for name in found[0]}

    def _tensors(self, row: Tensor) -> dict[str, Tensor]:
        """Parameters, differentiable like a module's, and buffers: parts of the row."""
        tensors = to_tensors(row, self._layout) | self._own.on(row.device)
        for entry in self._layout.entries:
            if entry.group != "untrained":
                tensors[entry.name].requires_grad_()
        return tensors

    def _alone(self, row: Tensor, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        can_be_used = self._habits is not None and not self._habits.changes_rows
        if not (can_be_used and row.numel() >= _LARGE and row.data_ptr() % _ALIGNMENT == 0):
            row = row.clone()
        return self._measure(self._tensors(row), inputs, targets)

    def _measure(self, tensors: dict[str, Tensor], inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        habits = self._habits or _Habits(draws=True, changes_samples=True)
        if habits.changes_samples:
            inputs, targets = copied((inputs, targets))
        if not habits.draws:
            return self._measured(tensors, inputs, targets)
        with seeded(_SEED, *self._generators):
            return self._measured(tensors, inputs, targets)

    def _measured(self, tensors: dict[str, Tensor], inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        compared = targets.targets if isinstance(targets, Weighted) else targets
        with torch.set_grad_enabled(self._habits is not None and self._habits.differentiates):
            outputs = call_module(self._module, tensors, inputs)
            measured = {"loss": self._objective.checked(outputs, targets)}
            measured |= {name: metric(outputs, compared) for name, metric in self._metrics.items()}
        return {name: _as_number(name, value) for name, value in measured.items()}

    def _together(
        self, rows: Tensor, inputs: Tree, targets: Tree, *, each: bool = False
    ) -> dict[str, Tensor]:
        def measure(row: Tensor, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
            tensors = to_tensors(row.clone(), self._layout) | self._own.on(rows.device)
            return self._measure(tensors, inputs, targets)

        samples = 0 if each else None
        with BatchableOperators():
            return vmap(measure, in_dims=(0, samples, samples))(rows, inputs, targets)

    def _tried(self, row: Tensor, inputs: Tree, targets: Tree) -> _Habits:
        """Evaluate a few samples twice.

        Raises
        ------
        InvalidTask
            If the second evaluation gives different numbers.
        """
        given = copied((inputs, targets))
        try:
            used = row.clone()
            with seeded(_SEED, *self._generators), watched() as drawn:
                first = self._measured(self._tensors(used), *given)
            changes_rows = not torch.equal(used, row)
            del used
            second = self._alone(row, inputs, targets)
        except Exception:  # so few samples may be too few: what fails on all of them is named there
            return self._differentiating(row, inputs, targets)
        differing = [name for name, value in first.items() if not _alike(value, second[name])]
        if differing:
            raise InvalidTask(
                f"{differing[0]!r} differs when the same model is evaluated again on the same samples",
                expected="the same from the same seed, twice",
                got=f"{first[differing[0]]:g}, then {second[differing[0]]:g}",
                remedy="Let nothing but parameters and persistent buffers change in evaluation, and draw with "
                "torch, random or NumPy's global functions.",
            )
        return _Habits(
            draws=bool(drawn) or bool(self._generators),
            changes_samples=any(leaf._version for leaf in leaves(given) if isinstance(leaf, Tensor)),
            changes_rows=changes_rows,
        )

    def _differentiating(self, row: Tensor, inputs: Tree, targets: Tree) -> _Habits:
        """Habits of a module that fails, unless it may differentiate: forces are derivatives of energies."""
        self._habits = _Habits(draws=True, changes_samples=True, differentiates=True)
        try:
            self._alone(row, inputs, targets)
        except Exception:
            return _Habits(draws=True, changes_samples=True)
        return self._habits

    def _can_be_batched(self, row: Tensor, inputs: Tree, targets: Tree) -> bool:
        """Whether two rows together have the same values as each alone."""
        width = self._layout.trainable_size
        generator = torch.Generator().manual_seed(0)
        other = row.clone()
        other[:width] += 0.01 * torch.randn(width, generator=generator).to(row)
        rows = torch.stack([row, other])
        try:
            together = self._together(rows, inputs, targets)
        except RuntimeError as error:  # an operator or metric that cannot be batched over parameters
            logger.info("%s is evaluated row by row: %s", self._name, str(error).partition("\n")[0])
            return False
        alone = [self._alone(each, inputs, targets) for each in rows]
        return all(
            _alike(values[place], one[name])
            for name, values in together.items()
            for place, one in enumerate(alone)
        )


def _release_memory(module: nn.Module, layout: Layout) -> None:
    """Let the tensors that are in rows take up no memory, but keep their form."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for entry in layout.entries:
        tensor = tensors[entry.name]
        tensor.data = tensor.data.new_zeros(()).expand(tensor.shape)


def _first(tree: Tree) -> Tree:
    return take(tree, slice(0, _SAMPLES_TRIED))


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)


def _as_number(name: str, value: Any) -> Tensor:  # noqa: ANN401 - whatever a metric returns
    what = "the loss" if name == "loss" else f"the metric {name!r}"
    try:
        number = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidTask(f"{what} is not a number", expected="a scalar", got=type(value).__name__) from None
    if number.dim() or number.is_complex():
        raise InvalidTask(
            f"{what} is not one number",
            expected="a scalar for all samples together",
            got=describe(number),
            remedy="Take the mean, or give the task a metric for each component.",
        )
    return number.detach()
