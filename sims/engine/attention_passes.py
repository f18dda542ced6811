"""Rewrites of traced graphs for the compiler: short attention as products."""

from __future__ import annotations

import math

import torch
from torch.fx import GraphModule, Node

from gossipfl.tasks.batched_attention import is_short
from sims.engine.graph_passes import called, is_call, shape_of

__all__ = ["attention_as_products"]

aten = torch.ops.aten
_FUSED = aten._scaled_dot_product_flash_attention_for_cpu.default


def attention_as_products(graph: GraphModule) -> None:
    """Write attention of few steps, whose gradient is not taken, as it is defined.

    The compiler fuses what stands between the two products, and these have kernels of their own.
    """
    graph.graph.eliminate_dead_code()
    found = [node for node in graph.graph.nodes if is_call(node, _FUSED) and _is_plain(node)]
    for node in graph.graph.nodes if found else ():
        if is_call(node, aten.view.default):  # the operator's result has another order of memory
            node.target = aten.reshape.default
    for node in found:
        with graph.graph.inserting_before(node):
            result = _products(graph, node)
        for user in list(node.users):
            user.replace_all_uses_with(result)
            graph.graph.erase_node(user)
        graph.graph.erase_node(node)


def _is_plain(node: Node) -> bool:
    """Whether nothing masks, draws or is kept for gradients."""
    query, key, _, *options = node.args
    drops = options[0] if options else node.kwargs.get("dropout_p", 0)
    if drops or node.kwargs.get("attn_mask") is not None or any(user.args[1] for user in node.users):
        return False
    return is_short(shape_of(query), shape_of(key))  # type: ignore[arg-type]


def _products(graph: GraphModule, node: Node) -> Node:
    query, key, value, *options = node.args
    is_causal = options[1] if len(options) > 1 else node.kwargs.get("is_causal", False)
    samples, heads, length, width = shape_of(query)  # type: ignore[arg-type]
    steps, out = shape_of(key)[2], shape_of(value)[3]  # type: ignore[arg-type]
    count = samples * heads
    scale = node.kwargs.get("scale") or 1 / math.sqrt(width)

    def matrices(tensor: object, rows: int, columns: int) -> Node:
        return called(graph, aten.reshape.default, (tensor, [count, rows, columns]), (count, rows, columns))

    scaled = called(graph, aten.mul.Tensor, (matrices(query, length, width), scale), (count, length, width))
    turned = (matrices(key, steps, width), 1, 2)
    turned_key = called(graph, aten.transpose.int, turned, (count, width, steps))
    # It is copied into matrices of its own either way, and best so that kernels find it along its columns.
    lies = {"memory_format": torch.contiguous_format}
    turned_key = called(graph, aten.clone.default, (turned_key,), (count, width, steps), **lies)
    scores = called(graph, aten.bmm.default, (scaled, turned_key), (count, length, steps))
    if is_causal:
        never = called(graph, aten.full.default, ([length, steps], -math.inf), (length, steps))
        later = called(graph, aten.triu.default, (never, 1), (length, steps))
        scores = called(graph, aten.add.Tensor, (scores, later), (count, length, steps))
    shares = called(graph, aten._softmax.default, (scores, -1, False), (count, length, steps))
    found = called(graph, aten.bmm.default, (shares, matrices(value, steps, out)), (count, length, out))
    whole = samples, heads, length, out
    return called(graph, aten.reshape.default, (found, list(whole)), whole)
