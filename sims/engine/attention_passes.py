"""Rewrites of traced graphs: short attention by one kernel, or as products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from gossipfl.kernels.attention import OPERATOR, is_available
from gossipfl.tasks.batched_attention import is_short
from sims.engine.graph_passes import is_call, shape_of
from sims.engine.uncopied import uncopied
from sims.engine.written_graphs import Form

__all__ = ["attention_as_products", "attention_by_kernel", "attention_without_kernel"]

aten = torch.ops.aten
_WORTH_A_CALL = 1 << 16  # multiplications of a product: of fewer, compiling would take longer than it saves
_FUSED = aten._scaled_dot_product_flash_attention_for_cpu.default


def attention_by_kernel(graph: GraphModule) -> GraphModule:
    """Let a graph call our kernel for attention of few steps, whose gradient is not taken, in place."""
    return _rewritten(graph, _call, _is_worth_a_call)


def attention_as_products(graph: GraphModule) -> GraphModule:
    """Write attention of few steps, whose gradient is not taken, as it is defined, in place.

    The compiler fuses what stands between the two products, and these have kernels of their own. Rows that are
    trained together have theirs from `gossipfl.tasks.batched_attention`.
    """
    return _rewritten(graph, _products, _is_plain)


def attention_without_kernel(graph: GraphModule) -> GraphModule:
    """Write attention as products where it is our kernel's, in place."""
    return _rewritten(graph, _products, lambda node: is_call(node, OPERATOR))


def _rewritten(
    graph: GraphModule, write: Callable[[GraphModule, Node], Node], is_chosen: Callable[[Node], bool]
) -> GraphModule:
    """Write some calls otherwise, in place."""
    graph.graph.eliminate_dead_code()
    found = [node for node in graph.graph.nodes if is_chosen(node)]
    for node in graph.graph.nodes if found else ():
        if is_call(node, aten.view.default):  # the operator's result has another order of memory
            node.target = aten.reshape.default
    for node in found:
        with graph.graph.inserting_before(node):
            result = write(graph, node)
        for user in list(node.users) if is_call(node, _FUSED) else [node]:
            user.replace_all_uses_with(result)
            graph.graph.erase_node(user)
        if is_call(node, _FUSED):
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _is_worth_a_call(node: Node) -> bool:
    """Whether the kernel can be called, and is worth it."""
    if not _is_plain(node):
        return False
    query, key, *_ = _given(node)
    multiplications = math.prod(shape_of(query)) * shape_of(key)[2]
    fits = query.meta["tensor_meta"].dtype == torch.float32 and multiplications >= _WORTH_A_CALL
    return fits and is_available()


def _is_plain(node: Node) -> bool:
    """Whether it is short attention, and nothing masks, draws or is kept for gradients."""
    if not is_call(node, _FUSED):
        return False
    query, key, _, *options = node.args
    drops = options[0] if options else node.kwargs.get("dropout_p", 0)
    if drops or node.kwargs.get("attn_mask") is not None or any(user.args[1] for user in node.users):
        return False
    return is_short(shape_of(query), shape_of(key))  # type: ignore[arg-type]


def _given(node: Node) -> tuple[Node, Node, Node, float, bool]:
    """Queries, keys, values, the scale of scores, and whether steps attend to none that are later."""
    query, key, value, *options = node.args
    assert isinstance(query, Node) and isinstance(key, Node) and isinstance(value, Node)  # noqa: S101 - tensors
    scale: Any
    if is_call(node, OPERATOR):
        scale, is_causal = options
    else:
        scale = node.kwargs.get("scale")
        is_causal = options[1] if len(options) > 1 else node.kwargs.get("is_causal", False)
    return query, key, value, shape_of(query)[-1] ** -0.5 if scale is None else scale, bool(is_causal)


def _call(graph: GraphModule, node: Node) -> Node:
    query, key, value, scale, is_causal = _given(node)
    tensors = [uncopied(graph, each) for each in (query, key, value)]
    result = graph.graph.call_function(OPERATOR, (*tensors, scale, is_causal))
    result.meta["tensor_meta"] = Form(torch.Size((*shape_of(query)[:3], shape_of(value)[3])), torch.float32)
    return result


def _products(graph: GraphModule, node: Node) -> Node:
    query, key, value, scale, is_causal = _given(node)
    (samples, heads, length, width), steps, out = shape_of(query), shape_of(key)[2], shape_of(value)[3]
    count, dtype = samples * heads, query.meta["tensor_meta"].dtype

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
