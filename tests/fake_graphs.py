"""CUDA graphs that are none: operations are recorded, and a replay carries them out again into the same memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["GRAPHS", "fake_graphs"]

GRAPHS: list[FakeGraph] = []
"""Those captured within `fake_graphs`."""


class FakeGraph:
    """What `torch.cuda.CUDAGraph` is, as far as it is used."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0
        GRAPHS.append(self)

    def replay(self) -> None:
        """Carry out what was recorded, with whatever is in its memory now."""
        self.replays += 1
        for call, arguments, named, before in self.recorded:
            after = call(*arguments, **named)
            for one, other in zip(tree_leaves(before), tree_leaves(after), strict=True):
                if isinstance(one, Tensor) and one is not other:
                    one.copy_(other)  # a view of the same memory is copied upon itself


class _Recording(TorchDispatchMode):
    def __init__(self, graph: FakeGraph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, call: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if call is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        found = call(*arguments, **(named or {}))
        self._graph.recorded.append((call, arguments, named or {}, found))
        return found


class _Stream:
    def wait_stream(self, other: _Stream) -> None:
        """Nothing runs beside anything else."""


class _Traced:
    """A function in place of the graph that it would be traced to."""

    class graph:  # noqa: N801 - as of a traced function
        nodes: tuple[Any, ...] = ()

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Tensor) -> Any:
        return self._function(*arguments)


@contextmanager
def fake_graphs(*, traced: bool = True) -> Iterator[None]:
    """Have programmes captured, on any device; with ``traced=False`` their functions as they are."""
    GRAPHS.clear()
    cuda = {
        "device": lambda device: nullcontext(),
        "Stream": _Stream,
        "current_stream": _Stream,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": FakeGraph,
        "graph": lambda graph, stream: _Recording(graph),
    }
    with patch.multiple(torch.cuda, **cuda), patch("sims.engine.programme.pays", lambda *tensors: True):
        if traced:
            yield
        else:
            with patch(
                "torch.fx.experimental.proxy_tensor.make_fx",
                lambda function: lambda *given: _Traced(function),
            ):
                yield
