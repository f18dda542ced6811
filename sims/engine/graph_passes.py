"""Rewrites of traced graphs that change the memory layout of matrices, not the result.

Eager autograd multiplies a batch of samples by a layer as ``x Wᵀ``, which puts the classes of a small output
layer in the last dimension: softmax then runs over ten numbers at a time, and every gradient is transposed back
into the layer's own order. Classes-first products avoid both.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

__all__ = ["classes_first", "is_call", "shape_of", "swaps_last", "tidied"]

aten = torch.ops.aten

_FORMS = (
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.unsqueeze.default,
    aten.squeeze.dim,
)
_SAME = (*_FORMS[:3], aten.expand.default, aten.detach.default)  # where they keep the shape
_FEW_OUTPUTS = 32  # of more, the last dimension is long enough, and what follows would have to turn it back


def classes_first(graph: GraphModule) -> GraphModule:
    """Rewrite batched products in place, and drop nodes that the result does not need.

    ``bmm(x, Wᵀ)`` with few outputs, and fewer than samples, becomes ``bmm(W, xᵀ)ᵀ``, and ``bmm(aᵀ, b)ᵀ`` becomes
    ``bmm(bᵀ, a)``.
    """
    nodes = graph.graph
    nodes.eliminate_dead_code()
    for node in list(nodes.nodes):
        if is_call(node, *_SAME):
            source = node.args[0]
            if isinstance(source, Node) and shape_of(source) == shape_of(node):
                node.replace_all_uses_with(source)
                nodes.erase_node(node)
    for node in list(nodes.nodes):
        if is_call(node, aten.bmm.default):
            _outputs_before_samples(graph, node)
    for node in list(nodes.nodes):
        if swaps_last(node) and is_call(node.args[0], aten.bmm.default):
            _gradient_in_place(graph, node)
    nodes.eliminate_dead_code()
    graph.recompile()
    return graph


def tidied(graph: GraphModule) -> GraphModule:
    """Rewrite views of views in place, each of which costs a call: as one, or as nothing."""
    for node in list(graph.graph.nodes):
        if is_call(node, *_FORMS) and is_call(node.args[0], *_FORMS):
            source = node.args[0].args[0]
            if shape_of(source) == shape_of(node):
                node.replace_all_uses_with(source)
            else:
                node.target, node.kwargs = aten.reshape.default, {}
                node.args = (source, list(shape_of(node)))
        elif _undoes(node):
            node.replace_all_uses_with(node.args[0].args[0])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _undoes(node: Node) -> bool:
    """Whether it transposes what the same has transposed."""
    if not is_call(node, aten.t.default, aten.transpose.int):
        return False
    source = node.args[0]
    return is_call(source, node.target) and source.args[1:] == node.args[1:]  # type: ignore[union-attr]


def _outputs_before_samples(graph: GraphModule, product: Node) -> None:
    samples, weights = product.args
    if not (isinstance(weights, Node) and swaps_last(weights)):
        return
    shape = shape_of(product)
    if shape[-1] >= min(shape[-2], _FEW_OUTPUTS):
        return
    with graph.graph.inserting_before(product):
        turned = _transpose(graph, samples)
        swapped = graph.graph.call_function(aten.bmm.default, (weights.args[0], turned))
        swapped.meta["tensor_meta"] = turned.meta["tensor_meta"]._replace(
            shape=(shape[0], shape[2], shape[1])
        )
        result = _transpose(graph, swapped)
    product.replace_all_uses_with(result)
    graph.graph.erase_node(product)


def _gradient_in_place(graph: GraphModule, turned: Node) -> None:
    product = turned.args[0]
    assert isinstance(product, Node)  # noqa: S101 - the caller matched it
    left, right = product.args
    if not (isinstance(left, Node) and swaps_last(left)) or len(product.users) > 1:
        return
    with graph.graph.inserting_before(product):
        result = graph.graph.call_function(aten.bmm.default, (_transpose(graph, right), left.args[0]))
        result.meta["tensor_meta"] = turned.meta["tensor_meta"]
    turned.replace_all_uses_with(result)


def _transpose(graph: GraphModule, matrix: object) -> Node:
    assert isinstance(matrix, Node)  # noqa: S101 - an operand of bmm
    if swaps_last(matrix):
        inner = matrix.args[0]
        assert isinstance(inner, Node)  # noqa: S101 - an operand of transpose
        return inner
    batch, rows, columns = shape_of(matrix)
    result = graph.graph.call_function(aten.transpose.int, (matrix, 1, 2))
    result.meta["tensor_meta"] = matrix.meta["tensor_meta"]._replace(shape=(batch, columns, rows))
    return result


def is_call(node: object, *targets: object) -> bool:
    """Whether a node calls one of these functions."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def swaps_last(node: object) -> bool:
    """Whether a node transposes the matrices of a batch."""
    return (
        isinstance(node, Node)
        and is_call(node, aten.transpose.int)
        and len(shape_of(node)) == 3
        and {int(d) % 3 for d in node.args[1:]} == {1, 2}  # type: ignore[arg-type]
    )


def shape_of(node: Node) -> tuple[int, ...]:
    """Shape of what a node computes."""
    return tuple(node.meta["tensor_meta"].shape)
