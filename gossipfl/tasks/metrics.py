"""Bundled metrics: plain functions of a model's outputs and the targets.

None broadcasts: if the shapes of outputs and targets do not fit, an error names both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.tasks.samples import describe

__all__ = [
    "Metric",
    "accuracy",
    "binary_accuracy",
    "class_accuracy",
    "mean_absolute_error",
    "r_squared",
    "require_same_shape",
    "sign_accuracy",
]

Metric = Callable[[Any, Any], Tensor]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of targets whose class has the largest output.

    Parameters
    ----------
    outputs : Tensor
        Shape ``[n, C]``; with positions ``[n, ..., C]`` or, as torch's losses have it, ``[n, C, ...]``.
    targets : Tensor
        Classes, shape ``[n, ...]``, integers.

    Returns
    -------
    Tensor
        Scalar within 0 … 1.

    Raises
    ------
    InvalidTask
        If the shapes differ from these, or there is only one output: these would not be classes.
    """
    if _is_tensor(outputs) and _is_tensor(targets) and outputs.dim() >= 2 and not _is_real(targets):
        if outputs.shape[:-1] == targets.shape and outputs.shape[-1] > 1:
            return (outputs.argmax(dim=-1) == targets).float().mean()
        if _are_classes(outputs, targets):
            return class_accuracy(outputs, targets)
    raise InvalidTask(
        "accuracy does not fit these outputs and targets",
        expected="outputs [n, classes] and integer targets [n], or the same with positions",
        got=_both(outputs, targets),
        remedy="Give the task its metrics: gossipfl.tasks.metrics has binary_accuracy, r_squared and "
        "mean_absolute_error too, or write one of your own.",
    )


def class_accuracy(outputs: Tensor, targets: Tensor, *, ignore_index: int | None = None) -> Tensor:
    """Share of targets whose class has the largest output, in the shapes of torch's cross-entropy.

    Parameters
    ----------
    outputs : Tensor
        Shape ``[n, C, ...]``.
    targets : Tensor
        Classes, shape ``[n, ...]``, or probabilities of classes, of the outputs' shape.
    ignore_index : int, optional
        Targets of this class do not count.

    Returns
    -------
    Tensor
        Scalar within 0 … 1; 0 if no target counts.

    Raises
    ------
    InvalidTask
        If the shapes are others.
    """
    if not _is_tensor(outputs) or not _is_tensor(targets):
        raise _misfit("accuracy", "tensors", outputs, targets)
    if _is_real(targets) and outputs.shape == targets.shape and outputs.dim() >= 2:
        return (outputs.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
    if not _are_classes(outputs, targets):
        raise _misfit("accuracy", "outputs [n, classes, …] and integer targets [n, …]", outputs, targets)
    right = (outputs.argmax(dim=1) == targets).float()
    if ignore_index is None:
        return right.mean()
    kept = (targets != ignore_index).float()
    return (right * kept).sum() / kept.sum().clamp(min=1)


def binary_accuracy(outputs: Tensor, targets: Tensor, *, threshold: float = 0.0) -> Tensor:
    """Share of labels, 0 or 1, on their own side of a threshold: of one label a sample, or of several.

    Parameters
    ----------
    outputs, targets : Tensor
        Of the same shape.
    threshold : float
        0 for logits, 0.5 for probabilities.

    Raises
    ------
    InvalidTask
        If the shapes differ.
    """
    require_same_shape("accuracy", outputs, targets)
    return ((outputs > threshold) == (targets > 0.5)).float().mean()


def sign_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of targets, −1 or 1, whose outputs have their sign; shapes as for `binary_accuracy`."""
    require_same_shape("accuracy", outputs, targets)
    return (outputs * targets > 0).float().mean()


def r_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination, ``1 − Σ(y − ŷ)² / Σ(y − ȳ)²``: the mean over the columns of targets.

    A column that is constant has 1 where it is met exactly, else 0.

    Raises
    ------
    InvalidTask
        If the shapes differ.
    """
    require_same_shape("R²", outputs, targets)
    truth = targets.reshape(len(targets), -1).double()
    residual = (truth - outputs.reshape(len(outputs), -1).double()).square().sum(dim=0)
    total = (truth - truth.mean(dim=0)).square().sum(dim=0)
    varying = total > 0
    explained = 1 - residual / torch.where(varying, total, torch.ones_like(total))
    return torch.where(varying, explained, (residual == 0).double()).mean().float()


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``|y − ŷ|``; raises as `r_squared` does."""
    require_same_shape("the mean absolute error", outputs, targets)
    return (outputs - targets).abs().float().mean()


def require_same_shape(what: str, outputs: Any, targets: Any) -> None:  # noqa: ANN401 - whatever a model returns
    """Require tensors of one shape.

    Raises
    ------
    InvalidTask
        With both shapes, and how to make them one.
    """
    if _is_tensor(outputs) and _is_tensor(targets) and outputs.shape == targets.shape:
        return
    raise _misfit(what, "outputs and targets of one shape", outputs, targets)


def _misfit(what: str, expected: str, outputs: Any, targets: Any) -> InvalidTask:  # noqa: ANN401
    remedy = "Select what is compared in a loss and metrics of your own."
    if _is_tensor(outputs) and _is_tensor(targets):
        remedy = "Reshape one of them: outputs in the module, or targets in the data."
        if outputs.dim() == targets.dim() + 1 and outputs.shape[-1] == 1:
            remedy = (
                "Add .unsqueeze(-1) to the targets in the data, or .squeeze(-1) to what the module returns."
            )
        elif targets.dim() == outputs.dim() + 1 and targets.shape[-1] == 1:
            remedy = (
                "Add .squeeze(-1) to the targets in the data, or .unsqueeze(-1) to what the module returns."
            )
    return InvalidTask(
        f"{what} does not fit these outputs and targets",
        expected=expected,
        got=_both(outputs, targets),
        remedy=remedy,
    )


def _both(outputs: Any, targets: Any) -> str:  # noqa: ANN401
    return f"outputs {describe(outputs)} and targets {describe(targets)}"


def _is_tensor(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Tensor)


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _are_classes(outputs: Tensor, targets: Tensor) -> bool:
    return (
        not _is_real(targets)
        and outputs.dim() == targets.dim() + 1 >= 2
        and outputs.shape[1] > 1
        and (outputs.shape[0], *outputs.shape[2:]) == targets.shape
    )
