"""Mean −ln p of words by their scores, with its gradient found in the same pass: no scores of all words are kept.

The scores of 320 words among 5,000 take 6 MB, which plain cross-entropy writes and reads five times, for each row
of a simulation. Here they are made in parts that stay in the cache, as in Liger Kernel (Hsu et al.,
arXiv:2410.10989, 2024): the gradient of a mean is known, but for a factor, when its terms are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

__all__ = ["mean_surprise"]

_NUMBERS_AT_ONCE = 2**18


def mean_surprise(
    hidden: Tensor, table: Tensor, bias: Tensor, wanted: Tensor, *, half: bool = False
) -> Tensor:
    """Mean of ``logsumexp(table h + bias) − (table h + bias)[w]`` over the places where w ≥ 0; 0 if there is none.

    Parameters
    ----------
    hidden : Tensor
        Shape ``[k, width]``.
    table, bias : Tensor
        Shapes ``[words, width]`` and ``[words]``.
    wanted : Tensor
        Shape ``[k]``, integers; negative where nothing counts.
    half : bool
        Whether products are of numbers in bfloat16, as under `torch.autocast`: scores and gradients have errors of
        about 0.4 %, and processors with instructions for it (AVX-512 BF16, AMX) multiply some four times as fast.
    """
    return _applied(hidden, table, bias, wanted, half)[0]


Found = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.no_grad()
def _found(hidden: Tensor, table: Tensor, bias: Tensor, wanted: Tensor, half: bool) -> Found:  # noqa: FBT001
    """The mean, and its gradients by ``hidden``, ``table`` and ``bias``."""
    counted = wanted >= 0
    weights = counted.to(hidden.dtype) / counted.sum().clamp(min=1)
    places = wanted.clamp(min=0).long()
    by_table, by_bias = torch.zeros_like(table), torch.zeros_like(bias)
    size = max(16, _NUMBERS_AT_ONCE // len(table))
    multiplied = torch.bfloat16 if half else table.dtype
    factors, offsets, read = (each.to(multiplied) for each in (table, bias, hidden))
    losses, by_hidden = [], []
    parts = (torch.split(each, size) for each in (read, places[:, None], weights[:, None]))
    for part, place, weight in zip(*parts, strict=True):
        scores = torch.addmm(offsets, part, factors.T).to(table.dtype)
        own = scores.gather(1, place)
        top = scores.amax(dim=1, keepdim=True)
        shares = scores.sub_(top).exp_()
        total = shares.sum(dim=1, keepdim=True)
        losses.append(((total.log() + top - own) * weight).sum())
        shares.mul_(weight / total).scatter_add_(1, place, -weight)
        by_bias.add_(shares.sum(dim=0))
        errors = shares.to(multiplied)
        by_hidden.append(errors @ factors)
        if half:
            by_table.add_(errors.T @ part)
        else:
            by_table.addmm_(errors.T, part)
    return torch.stack(losses).sum(), torch.cat(by_hidden).to(hidden.dtype), by_table, by_bias


def _applied(*given: Tensor | bool) -> Found:
    found: Found = _MeanSurprise.apply(*given)  # type: ignore[no-untyped-call]
    return found


class _MeanSurprise(torch.autograd.Function):
    @staticmethod
    def forward(hidden: Tensor, table: Tensor, bias: Tensor, wanted: Tensor, half: bool) -> Found:  # noqa: FBT001
        return _found(hidden, table, bias, wanted, half)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Found) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return *(gradients[0] * each for each in ctx.saved_tensors), None, None

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        *given: Any,  # noqa: ANN401
    ) -> tuple[Found, tuple[int, int, int, int]]:
        """Rows one after another: each has a table of its own, and their products share nothing."""
        rows = [
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip(given[:-1], in_dims[:-1], strict=True)
        ]
        found = [_applied(*row, given[-1]) for row in zip(*rows, strict=True)]
        stacked = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
        return stacked, (0, 0, 0, 0)  # type: ignore[return-value]
