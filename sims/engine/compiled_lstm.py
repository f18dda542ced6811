"""LSTM layers within compiled programmes, by the kernels that traced ones call (`gossipfl.kernels.lstm`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from gossipfl.kernels import lstm

__all__ = ["lstm_shims", "shims_source"]

_SOURCE = Path(__file__).with_name("lstm_shims.cpp")
_FORWARD, _BACKWARD = lstm.OPERATORS


def _interface(name: str, given: str, found: int) -> str:
    """A function that inductor's code calls, and what it calls; of ``given``, a star is an optional tensor."""
    kinds = {"*": "AtenTensorHandle*", "b": "int32_t", "t": "AtenTensorHandle"}
    parameters = [f"{kinds[kind]} a{place}" for place, kind in enumerate(given + "*" * found)]
    arguments = ", ".join(f"a{place}" for place in range(len(parameters)))
    suffix = "_backward" * (name == "backward")
    # What it throws would end the process: the interface is C's.
    return (
        f"AOTITorchError aoti_torch_cpu_lstm_layer{suffix}({', '.join(parameters)}) {{\n"
        f"  try {{ return lstm_shims::{name}({arguments}); }} catch (...) {{ return AOTI_TORCH_FAILURE; }}\n}}"
    )


@cache
def shims_source() -> str:
    """What compiled programmes depend on here."""
    return f"#include <optional>\n{lstm.source()}\n{_SOURCE.read_text()}"


def lstm_shims(graph: GraphModule) -> dict[Any, list[str]]:
    """What inductor's code calls for a graph's LSTM layers, if it has any."""
    forward = _interface("forward", "ttt**ttbbb*", 3)
    backward = _interface("backward", "**tttttttbbb", 6)
    called = {node.target for node in graph.graph.nodes}
    kernels = f'"C++" {{\n{shims_source()}\n}}'
    found = {_FORWARD: [forward], _BACKWARD: [backward]}
    wanted = {operator: shims for operator, shims in found.items() if operator in called}
    for shims in list(wanted.values())[:1]:
        shims.insert(0, kernels)
    return wanted
