"""Rewrites of traced graphs: layer norms whose gradient is not taken, by one kernel and back."""

from __future__ import annotations

import math
import operator

import torch
from torch.fx import GraphModule, Node

from gossipfl.kernels.norms import OPERATOR, is_available
from sims.engine.graph_passes import is_call, shape_of
from sims.engine.written_graphs import Form

__all__ = ["norms_as_operators", "norms_by_kernel"]

_NORM = torch.ops.aten.native_layer_norm.default
_WORTH_A_CALL = 1 << 14  # numbers: of fewer, calling Python for it would take longer than it saves
_MOST_NUMBERS = 1 << 10  # of a line, whose sums have torch's accuracy so


def norms_by_kernel(graph: GraphModule) -> GraphModule:
    """Let a graph call our kernel for layer norms of many short lines, in place."""
    graph.graph.eliminate_dead_code()
    for node in list(graph.graph.nodes):
        if is_call(node, _NORM) and _is_worth_a_call(node):
            inputs, _, *parameters = node.args
            with graph.graph.inserting_before(node):
                found = graph.graph.call_function(OPERATOR, (inputs, *parameters))
            found.meta["tensor_meta"] = Form(torch.Size(shape_of(inputs)), torch.float32)
            for user in list(node.users):
                user.replace_all_uses_with(found)
                graph.graph.erase_node(user)
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def norms_as_operators(graph: GraphModule) -> GraphModule:
    """Let a graph call torch's layer norms again, in place: the compiler fuses them with what is beside them."""
    for node in list(graph.graph.nodes):
        if is_call(node, OPERATOR):
            inputs, *parameters = node.args
            with graph.graph.inserting_before(node):
                norm = graph.graph.call_function(_NORM, (inputs, [shape_of(node)[-1]], *parameters))
                found = graph.graph.call_function(operator.getitem, (norm, 0))
            found.meta["tensor_meta"] = node.meta["tensor_meta"]
            node.replace_all_uses_with(found)
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def _is_worth_a_call(node: Node) -> bool:
    """Whether the kernel can be called, and is worth it: nothing is kept for a gradient."""
    inputs, dimensions, *_ = node.args
    assert isinstance(inputs, Node) and isinstance(dimensions, (list, tuple))  # noqa: S101 - by its signature
    if len(dimensions) != 1 or any(user.args[1] for user in node.users):
        return False
    is_small = shape_of(inputs)[-1] <= _MOST_NUMBERS
    numbers = math.prod(shape_of(inputs))
    fits = inputs.meta["tensor_meta"].dtype == torch.float32 and is_small and numbers >= _WORTH_A_CALL
    return fits and is_available()
