"""A rewrite of traced graphs: short attention as products."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import GraphModule, Node

from gossipfl.tasks.batched_attention import is_short
from sims.engine.graph_passes import is_call, shape_of
from sims.engine.written_graphs import Form

__all__ = ["attention_as_products"]

aten = torch.ops.aten
_FUSED = aten._scaled_dot_product_flash_attention_for_cpu.default


def attention_as_products(graph: GraphModule) -> GraphModule:
    """Write attention of few steps, whose gradient is not taken, as it is defined, in place.

    The compiler fuses what stands between the two products, and these have kernels of their own. Rows that are
    trained together have theirs from `gossipfl.tasks.batched_attention`.
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
    graph.recompile()
    return graph


def _is_plain(node: Node) -> bool:
    """Whether nothing masks, draws or is kept for gradients."""
    query, key, _, *options = node.args
    drops = options[0] if options else node.kwargs.get("dropout_p", 0)
    if drops or node.kwargs.get("attn_mask") is not None or any(user.args[1] for user in node.users):
        return False
    return is_short(shape_of(query), shape_of(key))  # type: ignore[arg-type]


def _products(graph: GraphModule, node: Node) -> Node:
    query, key, value, *options = node.args
    assert isinstance(query, Node) and isinstance(key, Node) and isinstance(value, Node)  # noqa: S101 - tensors
    is_causal = options[1] if len(options) > 1 else node.kwargs.get("is_causal", False)
    (samples, heads, length, width), steps, out = shape_of(query), shape_of(key)[2], shape_of(value)[3]
    count, dtype = samples * heads, query.meta["tensor_meta"].dtype
    given = node.kwargs.get("scale")
    scale = 1 / math.sqrt(width) if given is None else given

    def called(target: Any, shape: tuple[int, ...], *arguments: object, **options: object) -> Node:
        result = graph.graph.call_function(target, arguments, options)  # type: ignore[arg-type]
        result.meta["tensor_meta"] = Form(torch.Size(shape), dtype)
        return result

    def matrices(tensor: Node, *shape: int) -> Node:
        return called(aten.reshape.default, (count, *shape), tensor, [count, *shape])

    scaled = called(aten.mul.Tensor, (count, length, width), matrices(query, length, width), scale)
    turned = called(aten.transpose.int, (count, width, steps), matrices(key, steps, width), 1, 2)
    # They are copied into matrices of their own either way, and best so that kernels find them along the columns.
    turned = called(aten.clone.default, (count, width, steps), turned, memory_format=torch.contiguous_format)
    scores = called(aten.bmm.default, (count, length, steps), scaled, turned)
    if is_causal:
        never = called(aten.full.default, (length, steps), [length, steps], -math.inf, dtype=dtype)
        later = called(aten.triu.default, (length, steps), never, 1)
        scores = called(aten.add.Tensor, (count, length, steps), scores, later)
    shares = called(aten._softmax.default, (count, length, steps), scores, -1, False)  # noqa: FBT003
    found = called(aten.bmm.default, (count, length, out), shares, matrices(value, steps, out))
    whole = samples, heads, length, out
    return called(aten.reshape.default, whole, found, list(whole))
