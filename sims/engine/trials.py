"""Trials of a programme: equality with the function that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sims.errors import SimulationError

__all__ = ["Departed", "Trials"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
_NUDGES = 1e-2, 0.3


class Departed(SimulationError):
    """A programme gives other numbers than the function that it was made from."""


class Trials:
    """A function's results on arguments of the run, and on others near them and farther away.

    These reveal values that tracing mistook for constants, the last also those that change little.

    Parameters
    ----------
    function : callable
        Pure: it changes none of its arguments.
    arguments : sequence of Tensor
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        rows, *others = arguments
        cases = [(rows, *others), *((_nudged(rows, nudge, generator), *others) for nudge in _NUDGES)]
        with torch.no_grad():
            self._cases = [(each, _tensors(function(*each))) for each in cases]

    def require(self, programme: Callable[..., Any]) -> None:
        """Run a programme on all sets of arguments, and compare.

        Raises
        ------
        Departed
            If its results differ from the function's by more than rounding.
        """
        for arguments, expected in self._cases:
            with torch.no_grad():
                results = _tensors(programme(*arguments))
            if len(results) != len(expected):
                raise Departed("a programme returns another number of tensors than its function")
            for place, (one, other) in enumerate(zip(expected, results, strict=True)):
                _require_equal(one, other, place)


def _require_equal(expected: Tensor, result: Tensor, place: int) -> None:
    if expected.shape != result.shape or expected.dtype != result.dtype:
        raise Departed(
            f"result {place} of a programme has another form than its function's",
            expected=f"{list(expected.shape)} {expected.dtype}",
            got=f"{list(result.shape)} {result.dtype}",
        )
    tolerance = _TOLERANCE.get(expected.dtype, 0.0)
    size = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0.0
    if not torch.allclose(expected, result, rtol=tolerance, atol=tolerance * max(size, 1e-6), equal_nan=True):
        raise Departed(
            f"result {place} of a programme differs from its function's",
            expected=f"differences within {tolerance:g} of {size:g}",
            got=f"{(expected.double() - result.double()).abs().max().item():g}",
        )


def _nudged(tensor: Tensor, nudge: float, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    noise = torch.randn(tensor.shape[1:], generator=generator, dtype=tensor.dtype).to(tensor.device)
    return tensor + nudge * noise


def _tensors(results: Any) -> list[Tensor]:
    return [results] if isinstance(results, Tensor) else list(results)
