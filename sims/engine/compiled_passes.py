"""Rewrites of traced graphs for the compiler: one memory layout throughout, and nothing it could not fuse.

A transpose between two products splits what is computed between them into loops over different orders of memory.
So transposes are moved past elementwise operations, softmax and sums, up to the next product, where they cost
nothing. Values of which only the form is used are dropped, with all that led to them.
"""

from __future__ import annotations

import copy

import torch
from torch.fx import GraphModule, Node

from sims.engine.graph_passes import is_call, shape_of, swaps_last

__all__ = ["for_the_compiler"]

aten = torch.ops.aten
_OTHER_DIMENSION = {1: 2, 2: 1}
_SOFTMAX = (aten._log_softmax.default, aten._softmax.default)
_SOFTMAX_BACKWARD = (aten._log_softmax_backward_data.default, aten._softmax_backward_data.default)
_SCATTER = (aten.scatter_add.default, aten.scatter.value)
_FILLS = {aten.ones_like.default: 1, aten.zeros_like.default: 0}


def for_the_compiler(graph: GraphModule) -> GraphModule:
    """Rewrite a copy of a graph whose nodes know their shapes."""
    result = copy.deepcopy(graph)
    for node in list(result.graph.nodes):
        if is_call(node, *_FILLS):
            _fill(result, node)
    result.graph.eliminate_dead_code()
    # A loss that nobody asked for is gone now, and a softmax that was used by both is its slope's alone.
    for node in list(result.graph.nodes):
        if is_call(node, aten._log_softmax_backward_data.default):
            _take_exponentials_once(result, node)
    result.graph.eliminate_dead_code()
    for node in list(result.graph.nodes):
        _move_transposes(result, node)
    for node in list(result.graph.nodes):
        if swaps_last(node) and swaps_last(node.args[0]):
            node.replace_all_uses_with(node.args[0].args[0])
    result.graph.eliminate_dead_code()
    result.recompile()
    return result


def _fill(graph: GraphModule, node: Node) -> None:
    """Ones or zeros in the form of a value need not the value."""
    with graph.graph.inserting_before(node):
        filled = _call(
            graph,
            aten.full.default,
            (list(shape_of(node)), _FILLS[node.target]),  # type: ignore[index]
            shape_of(node),
            node,
            dtype=node.meta["tensor_meta"].dtype,
        )
    node.replace_all_uses_with(filled)


def _take_exponentials_once(graph: GraphModule, node: Node) -> None:
    """Compute the slope of a logarithm of softmax from softmax itself: g − softmax(x) Σ g."""
    slope, output, dimension = node.args[:3]
    if not is_call(output, aten._log_softmax.default) or len(output.users) > 1:  # type: ignore[union-attr]
        return
    assert isinstance(output, Node) and isinstance(slope, Node)  # noqa: S101 - tensors of this operation
    shape = shape_of(node)
    summed = int(dimension) % len(shape)  # type: ignore[arg-type]
    line = tuple(1 if d == summed else size for d, size in enumerate(shape))
    with graph.graph.inserting_before(node):
        softmax = _call(graph, aten._softmax.default, (output.args[0], dimension, False), shape, node)
        total = _only_number(slope, dimension, line)
        if total is None:
            total = _call(graph, aten.sum.dim_IntList, (slope, [dimension], True), line, node)
        product = _call(graph, aten.mul.Tensor, (softmax, total), shape, node)
        result = _call(graph, aten.sub.Tensor, (slope, product), shape, node)
    node.replace_all_uses_with(result)
    graph.graph.erase_node(node)


def _only_number(node: Node, dimension: object, line: tuple[int, ...]) -> Node | None:
    """What has been scattered into each line of zeros, if that is one number: their sum."""
    if not is_call(node, aten.scatter_add.default) or node.args[1] != dimension:
        return None
    zeros, value = node.args[0], node.args[3]
    found = isinstance(value, Node) and shape_of(value) == line and is_call(zeros, aten.new_zeros.default)
    return value if found else None  # type: ignore[return-value]


def _move_transposes(graph: GraphModule, node: Node) -> None:
    """Compute this on transposes of its arguments, if these cost nothing, and transpose what comes out."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return
    if not any(map(swaps_last, node.all_input_nodes)) or not all(
        map(_has_form, (node, *node.all_input_nodes))
    ):
        return
    tensors = [each for each in node.all_input_nodes if len(shape_of(each))]
    if any(len(shape_of(each)) != 3 for each in tensors):
        return
    turned = {each: swaps_last(each) or _turns_freely(each) for each in tensors}
    arguments = list(node.args)
    if is_call(node, *_SOFTMAX):
        arguments[1] = _other(arguments[1])
    elif is_call(node, *_SOFTMAX_BACKWARD):
        arguments[2] = _other(arguments[2])
    elif is_call(node, aten.sum.dim_IntList):
        arguments[1] = [_other(d) for d in arguments[1]]  # type: ignore[union-attr]
    elif torch.Tag.pointwise not in node.target.tags or not all(turned.values()):
        return
    shape = shape_of(node)
    with graph.graph.inserting_before(node):
        arguments = [
            _turned(graph, each) if isinstance(each, Node) and each in turned else each for each in arguments
        ]
        new = _call(graph, node.target, tuple(arguments), _swapped(shape), node, **node.kwargs)
        result = _transposed(graph, new) if len(shape) == 3 else new
    node.replace_all_uses_with(result)
    graph.graph.erase_node(node)


def _has_form(node: Node) -> bool:
    """Whether it computes one tensor, whose form is known."""
    return hasattr(node.meta.get("tensor_meta"), "shape")


def _turns_freely(node: Node) -> bool:
    """Whether its transpose costs no more than itself: see `_turned`."""
    if 1 in shape_of(node)[1:] or is_call(node, *_SCATTER):
        return True
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags


def _turned(graph: GraphModule, node: Node) -> Node:
    """Compute the transpose of a value, in its own order of memory where the compiler fuses what computes it."""
    if swaps_last(node):
        return node.args[0]  # type: ignore[return-value]
    shape = _swapped(shape_of(node))
    if 1 in shape[1:] or not all(map(_has_form, node.all_input_nodes)):
        return _transposed(graph, node)
    inputs = [each for each in node.all_input_nodes if len(shape_of(each))]
    if is_call(node, aten.new_zeros.default, aten.full.default):
        value = 0 if is_call(node, aten.new_zeros.default) else node.args[1]
        dtype = node.meta["tensor_meta"].dtype
        return _call(graph, aten.full.default, (list(shape), value), shape, node, dtype=dtype)
    if any(len(shape_of(each)) != 3 for each in inputs):
        return _transposed(graph, node)
    arguments = list(node.args)
    if is_call(node, *_SCATTER):
        arguments[1] = _other(arguments[1])
    elif torch.Tag.pointwise not in getattr(node.target, "tags", ()):
        return _transposed(graph, node)
    arguments = [
        _turned(graph, each) if isinstance(each, Node) and each in inputs else each for each in arguments
    ]
    return _call(graph, node.target, tuple(arguments), shape, node, **node.kwargs)  # type: ignore[arg-type]


def _transposed(graph: GraphModule, node: Node) -> Node:
    shape = shape_of(node)
    if 1 in shape[1:]:
        return _call(graph, aten.reshape.default, (node, list(_swapped(shape))), _swapped(shape), node)
    return _call(graph, aten.transpose.int, (node, 1, 2), _swapped(shape), node)


def _call(
    graph: GraphModule,
    target: torch._ops.OpOverload,
    arguments: tuple[object, ...],
    shape: tuple[int, ...],
    like: Node,
    **options: object,
) -> Node:
    result = graph.graph.call_function(target, arguments, options)  # type: ignore[arg-type]
    meta = like.meta["tensor_meta"]
    result.meta["tensor_meta"] = meta._replace(
        shape=torch.Size(shape), dtype=options.get("dtype") or meta.dtype
    )
    return result


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[2], shape[1]) if len(shape) == 3 else shape


def _other(dimension: object) -> int:
    d = int(dimension) % 3  # type: ignore[call-overload]
    return _OTHER_DIMENSION.get(d, d)
