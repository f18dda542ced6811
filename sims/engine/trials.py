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
        Pure: it changes none of its arguments, and returns no view of them.
    arguments : sequence of Tensor
    read : Tensor, optional
        Int64: those rows of the first argument that the others point at. Nothing else of it is then copied, for it
        may be the table of a million models. All by default.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Tensor], *, read: Tensor | None = None
    ) -> None:
        self._arguments, self._read = tuple(arguments), read
        generator = torch.Generator().manual_seed(0)
        rows = arguments[0]
        self._noises = [None, *(_noise(rows, nudge, generator) for nudge in _NUDGES)]
        self._expected = [self._results(function, noise) for noise in self._noises]

    def require(self, programme: Callable[..., Any]) -> None:
        """Run a programme on all sets of arguments, and compare.

        Raises
        ------
        Departed
            If its results differ from the function's by more than rounding.
        """
        for noise, expected in zip(self._noises, self._expected, strict=True):
            results = self._results(programme, noise)
            if len(results) != len(expected):
                raise Departed("a programme returns another number of tensors than its function")
            for place, (one, other) in enumerate(zip(expected, results, strict=True)):
                _require_equal(one, other, place)

    @property
    def expected(self) -> list[Tensor]:
        """The function's results on the arguments themselves."""
        return self._expected[0]

    @torch.no_grad()
    def _results(self, function: Callable[..., Any], noise: Tensor | None) -> list[Tensor]:
        """What a function returns when noise is added to the rows that it reads."""
        rows, *others = self._arguments
        if noise is None:
            return _tensors(function(rows, *others))
        if self._read is None:
            return _tensors(function(rows + noise, *others))
        before = rows[self._read]
        rows[self._read] = before + noise
        try:
            return _tensors(function(rows, *others))
        finally:
            rows[self._read] = before


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


def _noise(rows: Tensor, nudge: float, generator: torch.Generator) -> Tensor | None:
    """Noise for one row, the same for all; None for rows of integers."""
    if not rows.is_floating_point():
        return None
    return nudge * torch.randn(rows.shape[1:], generator=generator, dtype=rows.dtype).to(rows.device)


def _tensors(results: Any) -> list[Tensor]:
    return [results] if isinstance(results, Tensor) else list(results)
