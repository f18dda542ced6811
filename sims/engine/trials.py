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
# How often rows are rounded, by how many units in the last place, and how many times what comes of it a result may
# differ: by more units, steps flip that others' rounding may flip, too.
_ROUNDINGS = (8, 1, 30), (4, 30, 2)
_MOST_UNCERTAIN = 0.02  # of a result's numbers: where more are, the function is no yardstick


class Departed(SimulationError):
    """A programme gives other numbers than the function that it was made from."""


class Trials:
    """A function's results on arguments of the run, and on others near them and farther away.

    These reveal values that tracing mistook for constants, the last also those that change little. A number may
    differ by what rounding makes of a sum of many, or else by what it makes of this number in the function itself,
    where the rows' last digits are changed. So a number with no digit that is certain, such as AdamW's step along
    a slope that is zero but for rounding, may be any of those that the function gives. Few numbers may be such.
    Against arithmetic in double precision, a compiled step of a transformer of 1.7 million parameters and the
    function had the same errors, but where they flipped steps they did so in different places.

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
        self._function, self._arguments, self._read = function, tuple(arguments), read
        generator = torch.Generator().manual_seed(0)
        rows = arguments[0]
        self._noises = [None, *(_noise(rows, nudge, generator) for nudge in _NUDGES)]
        self._expected = [self._results(function, noise) for noise in self._noises]
        self._allowed: list[list[Tensor] | None] = [None] * len(self._noises)

    def require(self, programme: Callable[..., Any]) -> None:
        """Run a programme on all sets of arguments, and compare.

        Raises
        ------
        Departed
            If its results differ from the function's by more than rounding.
        """
        for trial, (noise, expected) in enumerate(zip(self._noises, self._expected, strict=True)):
            results = self._results(programme, noise)
            if len(results) != len(expected):
                raise Departed("a programme returns another number of tensors than its function")
            for place, (one, other) in enumerate(zip(expected, results, strict=True)):
                _require_form(one, other, place)
                if not _are_close(one, other):
                    _require_close(one, other, place, self._rounding(trial)[place])

    def _rounding(self, trial: int) -> list[Tensor]:
        """How much each number of the function's results may differ, by what becomes of rows' last digits."""
        found = self._allowed[trial]
        if found is None:
            expected, noise = self._expected[trial], self._noises[trial]
            again = self._results(self._function, noise)
            if not all(map(_are_close, expected, again)):
                raise Departed("a function gives other results when it is called again")
            found = [torch.zeros_like(each, dtype=torch.float64) for each in expected]
            generator = torch.Generator().manual_seed(0)
            for count, units, factor in _ROUNDINGS if self._arguments[0].is_floating_point() else ():
                for _ in range(count):
                    rounded = self._results(self._function, noise, (generator, units))
                    for most, one, other in zip(found, expected, rounded, strict=True):
                        apart = (one.double() - other.double()).abs_().nan_to_num_(0, 0, 0)
                        torch.maximum(most, apart.mul_(factor), out=most)
            self._allowed[trial] = found
        return found

    @property
    def expected(self) -> list[Tensor]:
        """The function's results on the arguments themselves."""
        return self._expected[0]

    @torch.no_grad()
    def _results(
        self,
        function: Callable[..., Any],
        noise: Tensor | None,
        last_digits: tuple[torch.Generator, int] | None = None,
    ) -> list[Tensor]:
        """What a function returns when noise is added to the rows that it reads, and last digits are drawn."""
        rows, *others = self._arguments
        if noise is None and last_digits is None:
            return _tensors(function(rows, *others))
        before = rows if self._read is None else rows[self._read]
        after = before if noise is None else before + noise
        if last_digits is not None:
            after = _rounded(after, *last_digits)
        if self._read is None:
            return _tensors(function(after, *others))
        rows[self._read] = after
        try:
            return _tensors(function(rows, *others))
        finally:
            rows[self._read] = before


def _require_form(expected: Tensor, result: Tensor, place: int) -> None:
    if expected.shape != result.shape or expected.dtype != result.dtype:
        raise Departed(
            f"result {place} of a programme has another form than its function's",
            expected=f"{list(expected.shape)} {expected.dtype}",
            got=f"{list(result.shape)} {result.dtype}",
        )


def _tolerances(expected: Tensor) -> tuple[float, float]:
    """Of the difference of a number, as a share of itself, and as such."""
    share = _TOLERANCE.get(expected.dtype, 0.0)
    size = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0.0
    return share, share * max(size, 1e-6)


def _are_close(expected: Tensor, result: Tensor) -> bool:
    share, least = _tolerances(expected)
    return torch.allclose(expected, result, rtol=share, atol=least, equal_nan=True)


def _require_close(expected: Tensor, result: Tensor, place: int, rounding: Tensor) -> None:
    """Require differences within a tolerance, or within what rounding may do to a number."""
    share, least = _tolerances(expected)
    apart = (expected.double() - result.double()).abs()
    apart[(expected == result) | (expected.isnan() & result.isnan())] = 0
    allowed = least + share * expected.double().abs()
    beyond = ~(apart <= allowed)
    wrong = ~(apart <= allowed + rounding)
    if wrong.any() or beyond.sum() > _MOST_UNCERTAIN * beyond.numel():
        raise Departed(
            f"result {place} of a programme differs from its function's",
            expected=f"differences within {least:g}, or of few numbers within what rounding makes of them",
            got=f"{int(beyond.sum())} of {beyond.numel()} beyond the first, {int(wrong.sum())} beyond both; the "
            f"worst is {apart[beyond].nan_to_num(torch.inf).max().item():g}",
        )


def _noise(rows: Tensor, nudge: float, generator: torch.Generator) -> Tensor | None:
    """Noise for one row, the same for all; None for rows of integers."""
    if not rows.is_floating_point():
        return None
    return nudge * torch.randn(rows.shape[1:], generator=generator, dtype=rows.dtype).to(rows.device)


def _rounded(rows: Tensor, generator: torch.Generator, units: int) -> Tensor:
    """Rows with their last digits drawn: each number some units in the last place up, down, or as it is."""
    signs = torch.randint(-1, 2, rows.shape, generator=generator).to(rows.device, rows.dtype)
    return rows * (1 + torch.finfo(rows.dtype).eps * units * signs)


def _tensors(results: Any) -> list[Tensor]:
    return [results] if isinstance(results, Tensor) else list(results)
