"""Attention of many rows at once: the fused operator of each row alone, or products where it is short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["attention", "attention_of_one", "is_short"]

_FUSED_DIMENSIONS = 4  # samples, heads, length, width
_SHORT = 32  # steps; of more, the fused operator is as fast on a CPU, and holds no scores


def attention(  # noqa: PLR0917 - torch calls it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    **options: Any,  # noqa: ANN401
) -> Tensor:
    """Compute `torch.nn.functional.scaled_dot_product_attention`, in or out of ``vmap``."""
    if dropout_p:
        raise RuntimeError("its attention draws random numbers")
    options["is_causal"] = is_causal
    found: Tensor = _Attention.apply(query, key, value, attn_mask, options)  # type: ignore[no-untyped-call]
    return found


def attention_of_one(  # noqa: PLR0917 - torch calls it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    **options: Any,  # noqa: ANN401
) -> Tensor:
    """Compute `torch.nn.functional.scaled_dot_product_attention` of a single row, out of ``vmap``."""
    options["is_causal"] = is_causal
    plain = attn_mask is None and not dropout_p and not options.keys() - {"is_causal", "scale"}
    if plain and query.device.type == "cpu" and is_short(query.shape, key.shape):
        return _by_products(query, key, value, **options)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, **options)


def is_short(query: Sequence[int], key: Sequence[int]) -> bool:
    """Whether products of matrices of these shapes take a CPU less time than the fused operator does."""
    return max(query[-2], key[-2]) <= _SHORT


def _by_products(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Compute `torch.nn.functional.scaled_dot_product_attention` as it is defined, without a mask.

    Parameters
    ----------
    query, key, value : Tensor
        Shape ``[..., length, width]`` each.
    is_causal : bool
        Whether steps attend to none that are later.
    scale : float, optional
        Of scores; 1 / √width by default.
    """
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.mT
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores + torch.zeros_like(later, dtype=scores.dtype).masked_fill(later, -torch.inf)
    return torch.softmax(scores, -1) @ value


class _Attention(torch.autograd.Function):
    """Attention with a rule for ``vmap``, which torch's CPU operator lacks: it would be called row by row.

    There is no rule for gradients: those of many rows are the gradients of the call in `vmap`.
    """

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Compute attention where nothing is batched."""
        return functional.scaled_dot_product_attention(query, key, value, mask, **options)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep nothing."""

    @staticmethod
    def vmap(  # noqa: PLR0917 - torch calls it
        info: Any,  # noqa: ANN401
        places: tuple[int | None, ...],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        options: dict[str, Any],
    ) -> tuple[Tensor, int]:
        """Compute attention of B rows: their samples become samples of one call."""
        count = info.batch_size
        query, key, value = (
            _rows_first(operand, place, count)
            for operand, place in zip((query, key, value), places, strict=False)
        )
        dimensions = query.dim() - 1
        plain = mask is None and not options.keys() - {"is_causal", "scale"} and query.device.type == "cpu"
        if plain and is_short(query.shape, key.shape):
            return _by_products(query, key, value, **options), 0
        if mask is not None:
            mask = _rows_first(mask, places[3], count)
            mask = mask.reshape(count, *[1] * (dimensions + 1 - mask.dim()), *mask.shape[1:])
        attend = functional.scaled_dot_product_attention
        if dimensions != _FUSED_DIMENSIONS:
            return attend(query, key, value, mask, **options), 0
        if mask is not None:
            mask = mask.expand(-1, query.shape[1], *mask.shape[2:]).flatten(0, 1)
        together = attend(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), mask, **options)
        return together.reshape(count, query.shape[1], *together.shape[1:]), 0


def _rows_first(tensor: Tensor, place: int | None, count: int) -> Tensor:
    """Tensor whose first dimension is the row, ``[B, ...]``."""
    return tensor.expand(count, *tensor.shape) if place is None else tensor.movedim(place, 0)
