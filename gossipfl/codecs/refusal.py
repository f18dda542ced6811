"""Rows that no codec encodes, those with NaN or infinities among them."""

from __future__ import annotations

import torch
from torch import Tensor

from gossipfl.errors import NonFiniteUpdate, UnexpectedTensor

__all__ = ["is_finite", "require_finite", "require_in_range", "require_single_row"]


def is_finite(tensor: Tensor) -> bool:
    """Return whether every element is finite.

    The smallest and the largest element suffice: both are NaN if any element is, and an infinity is one of
    them. ``isfinite(x).all()`` is ten times slower and allocates a mask.

    Parameters
    ----------
    tensor : Tensor, any shape, floating point
    """
    if tensor.numel() == 0:
        return True
    smallest, largest = torch.aminmax(tensor.detach())
    return bool(torch.isfinite(smallest)) and bool(torch.isfinite(largest))


def require_single_row(row: Tensor) -> None:
    """Require float32 of shape [D].

    Raises
    ------
    UnexpectedTensor
    """
    if row.dtype != torch.float32 or row.dim() != 1:
        found = f"{row.dtype} {list(row.shape)}"
        raise UnexpectedTensor("only a single row can be encoded", expected="float32 [D]", got=found)


def require_finite(row: Tensor) -> None:
    """Require that a row which is about to be sent is free of NaN and infinities.

    Raises
    ------
    NonFiniteUpdate
    """
    if not is_finite(row):
        raise NonFiniteUpdate(
            "the row to be sent holds NaN or an infinity",
            remedy="Training has diverged: lower the learning rate or clip gradients.",
        )


def require_in_range(encoded: Tensor, *, row: Tensor, codec: str, most: str) -> None:
    """Require that a row is finite, and still is as its codec writes it.

    Parameters
    ----------
    encoded : Tensor
        The numbers the codec computed.
    row : Tensor
        From this row.
    codec : str
        Its name.
    most : str
        What the codec can hold.

    Raises
    ------
    NonFiniteUpdate
    """
    if is_finite(encoded):
        return
    require_finite(row)
    raise NonFiniteUpdate(
        f"the row does not fit into {codec}",
        expected=most,
        got=f"{row.abs().max().item():.6g}",
        remedy="Use the codec bfloat16, which has the range of float32, or float32.",
    )
