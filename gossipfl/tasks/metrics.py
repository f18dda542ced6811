"""Bundled metrics: plain functions of a model's outputs and the targets."""

from __future__ import annotations

from torch import Tensor

__all__ = ["accuracy"]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of samples whose largest output is the target class.

    Parameters
    ----------
    outputs : Tensor
        Shape ``[S, classes]``.
    targets : Tensor
        Shape ``[S]``, int64.

    Returns
    -------
    Tensor
        Scalar within 0 … 1.
    """
    return (outputs.argmax(dim=-1) == targets).float().mean()
