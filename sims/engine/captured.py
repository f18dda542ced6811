"""Functions captured as CUDA graphs: all their kernels are launched at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Captured", "pays"]

_MOST_COPIED = 4  # numbers copied for each that is found: a table of a million models is not


def pays(arguments: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Whether a captured function is worth its copies: it may not read from a table that is much larger."""
    return arguments[0].device.type == "cuda" and _numbers(arguments) <= _MOST_COPIED * _numbers(found)


class Captured:
    """A function of tensors on a GPU, whose kernels are recorded once and launched as one graph.

    A step of a recurrent layer is hundreds of kernels of two microseconds each, which Python launches at a tenth
    of that pace.

    Parameters
    ----------
    function : callable
        Pure tensor arithmetic on one GPU, which waits for no result.
    arguments : sequence of Tensor
        Of the shapes of all later calls.

    Raises
    ------
    RuntimeError
        If the function cannot be captured.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Tensor]) -> None:
        self._function = function
        self._held = [argument.clone() for argument in arguments]
        with torch.cuda.device(arguments[0].device), torch.no_grad():
            aside, now = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(now)
            with torch.cuda.stream(aside):  # libraries set up what they need
                function(*self._held)
            now.wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            # On a stream of its own: graphs that run side by side must not share what libraries keep for a stream.
            with torch.cuda.graph(self._graph, stream=aside):
                self._found = function(*self._held)

    def __call__(self, *arguments: Tensor) -> Any:
        """Results of the function, in memory that the next call writes to."""
        if any(
            given.shape != held.shape or given.dtype != held.dtype
            for given, held in zip(arguments, self._held, strict=True)
        ):
            return self._function(*arguments)
        for held, given in zip(self._held, arguments, strict=True):
            held.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._found


def _numbers(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
