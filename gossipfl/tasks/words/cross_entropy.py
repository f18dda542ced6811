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
_NUMBERS_AT_ONCE_ELSEWHERE = 2**28


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
    return _applied(hidden[None], table[None], bias[None], wanted[None], half)[0][0]


Found = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.no_grad()
def _found(hidden: Tensor, table: Tensor, bias: Tensor, wanted: Tensor, half: bool) -> Found:  # noqa: FBT001
    """The means of B rows, and their gradients by ``hidden``, ``table`` and ``bias``, which are ``[B, ...]``."""
    counted = wanted >= 0
    weights = counted.to(hidden.dtype) / counted.sum(dim=1, keepdim=True).clamp(min=1)
    places = wanted.clamp(min=0).long()
    by_table, by_bias = torch.zeros_like(table), torch.zeros_like(bias)
    numbers = _NUMBERS_AT_ONCE if hidden.device.type == "cpu" else _NUMBERS_AT_ONCE_ELSEWHERE
    size = max(16, numbers // bias.numel())
    multiplied = torch.bfloat16 if half else table.dtype
    factors, offsets, read = (each.to(multiplied) for each in (table, bias[:, None], hidden))
    losses, by_hidden = [], []
    parts = (torch.split(each, size, dim=1) for each in (read, places[..., None], weights[..., None]))
    for part, place, weight in zip(*parts, strict=True):
        scores = torch.baddbmm(offsets, part, factors.mT).to(table.dtype)
        own = scores.gather(2, place)
        top = scores.amax(dim=2, keepdim=True)
        shares = scores.sub_(top).exp_()
        total = shares.sum(dim=2, keepdim=True)
        losses.append(((total.log() + top - own) * weight).sum(dim=(1, 2)))
        shares.mul_(weight / total).scatter_add_(2, place, -weight)
        by_bias.add_(shares.sum(dim=1))
        errors = shares.to(multiplied)
        by_hidden.append(errors @ factors)
        if half:
            by_table.add_(errors.mT @ part)
        else:
            by_table.baddbmm_(errors.mT, part)
    return torch.stack(losses).sum(dim=0), torch.cat(by_hidden, dim=1).to(hidden.dtype), by_table, by_bias


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
        by_hidden, by_table, by_bias = ctx.saved_tensors
        factors = gradients[0][:, None]
        return by_hidden * factors[..., None], by_table * factors[..., None], by_bias * factors, None, None

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        *given: Any,  # noqa: ANN401
    ) -> tuple[Found, tuple[int, int, int, int]]:
        """Rows have tables of their own: on a CPU one after another, whose scores stay in the cache."""
        rows = [
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip(given[:-1], in_dims[:-1], strict=True)
        ]
        together = 1 if rows[0].device.type == "cpu" else info.batch_size
        parts = zip(*(torch.split(each.flatten(0, 1), together) for each in rows), strict=True)
        found = [_applied(*part, given[-1]) for part in parts]
        joined = tuple(torch.cat(each).unsqueeze(1) for each in zip(*found, strict=True))
        return joined, (0, 0, 0, 0)  # type: ignore[return-value]
