"""Traced graphs as JSON: names of operators, torch's and our own, their arguments, and nothing that could run."""

from __future__ import annotations

import json
import keyword
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, GraphModule, Node

from gossipfl.kernels import attention, lstm, norms, scores
from sims.engine import products
from topology.parsing import json_of

__all__ = ["Unreadable", "Unwritable", "read", "written"]

_NAMESPACES = {"aten", "prims"}
_KERNELS = {
    str(operator): operator
    for operator in (
        *lstm.OPERATORS,
        *(kernel.OPERATOR for kernel in (attention, norms, products, scores)),
    )
}
_KINDS = (torch.dtype, torch.layout, torch.memory_format)
_OPERATIONS = {name: name for name in ("placeholder", "call_function", "output")}
_WRONG = AttributeError, KeyError, OverflowError, TypeError, ValueError
_NUMBERS = {"inf": float("inf"), "-inf": -float("inf"), "nan": float("nan")}


class Unwritable(Exception):
    """A graph has what this cannot hold: constants, or calls that are no operators of torch."""


class Unreadable(Exception):
    """A text is no graph of this torch."""


class Form(NamedTuple):
    """What passes over graphs need to know of a tensor."""

    shape: torch.Size
    dtype: torch.dtype


def written(graph: GraphModule) -> str:
    """Write a graph.

    Raises
    ------
    Unwritable
    """
    lines = []
    for node in graph.graph.nodes:
        form = node.meta.get("tensor_meta")
        known = [list(form.shape), _name(form.dtype)] if hasattr(form, "shape") else None
        if node.op == "call_function":
            target = _target(node.target)
        elif node.op in _OPERATIONS:
            target = str(node.target)
        else:
            raise Unwritable(f"it has a {node.op}")
        kwargs = {key: _encoded(value) for key, value in node.kwargs.items()}
        lines.append([node.op, node.name, target, [_encoded(each) for each in node.args], kwargs, known])
    return json.dumps(lines)


def read(text: str) -> GraphModule:
    """Read a graph.

    Raises
    ------
    Unreadable
    """
    graph, nodes = Graph(), dict[str, Node]()
    try:
        for op, name, target, args, kwargs, known in json_of(text):
            node = graph.create_node(
                _OPERATIONS[op],
                _operator(target) if op == "call_function" else _own_name(target),
                tuple(_decoded(each, nodes) for each in args),
                {_own_name(key): _decoded(value, nodes) for key, value in kwargs.items()},
                name=_own_name(name),
            )
            if known is not None:
                node.meta["tensor_meta"] = Form(torch.Size(known[0]), _constant(known[1], torch.dtype))
            nodes[name] = node
        if nodes["output"].op == "output":
            return GraphModule(torch.nn.Module(), graph)
    except (*_WRONG, RecursionError, RuntimeError, SyntaxError) as error:
        raise Unreadable(f"no graph of this torch: {error}") from error
    raise Unreadable("no graph: it has no output")


def _target(target: object) -> str:
    if target is operator.getitem:
        return "getitem"
    if isinstance(target, torch._ops.OpOverload) and (
        target.namespace in _NAMESPACES or target in _KERNELS.values()
    ):
        return str(target)
    raise Unwritable(f"it calls {target}")


def _operator(name: str) -> Any:
    if name == "getitem":
        return operator.getitem
    if name in _KERNELS:
        return _KERNELS[name]
    namespace, packet, overload = name.split(".")
    if namespace not in _NAMESPACES:
        raise KeyError(name)
    found = getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    if not isinstance(found, torch._ops.OpOverload):
        raise KeyError(name)
    return found


def _own_name(name: str) -> str:
    """A name as it may stand in the code that torch writes and runs for a graph."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is no name")
    return name


def _name(constant: object) -> str:
    return str(constant).removeprefix("torch.")


def _constant(name: str, kind: type | tuple[type, ...]) -> Any:
    found = getattr(torch, name)
    if not isinstance(found, kind):
        raise KeyError(name)
    return found


def _encoded(value: object) -> Any:
    """What JSON has is itself, all else a name by its kind."""
    if isinstance(value, (list, tuple)):
        inside = [_encoded(each) for each in value]
        return {"tuple": inside} if isinstance(value, tuple) else inside
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, float) and not abs(value) < _NUMBERS["inf"]:
        return {"number": str(value)}
    for kind, types in (("text", str), ("device", torch.device), ("constant", _KINDS)):
        if isinstance(value, types):
            return {kind: str(value) if kind == "text" else _name(value)}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise Unwritable(f"it is given a {type(value).__name__}")


def _decoded(value: Any, nodes: dict[str, Node]) -> Any:
    if isinstance(value, list):
        return [_decoded(each, nodes) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, name),) = value.items()
    kinds: dict[str, Callable[[Any], Any]] = {
        "tuple": lambda inside: tuple(_decoded(inside, nodes)),
        "node": nodes.__getitem__,
        "number": _NUMBERS.__getitem__,
        "text": str,
        "device": torch.device,
        "constant": partial(_constant, kind=_KINDS),
    }
    return kinds[kind](name)
