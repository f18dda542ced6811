"""Views of copies in traced graphs, taken of what was copied instead."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from sims.engine.graph_passes import is_call, shape_of
from sims.engine.graph_views import Writer

__all__ = ["uncopied"]

aten = torch.ops.aten
_VIEWS = (aten.view.default, aten._unsafe_view.default, aten.reshape.default)
_TURNED = (aten.transpose.int, aten.permute.default)


def uncopied(graph: GraphModule, tensor: Node) -> Node:
    """The same numbers before a copy that kernels of any strides can do without; the tensor if there is none.

    Attention's layers copy queries, keys and values apart, which one product has computed side by side.
    """
    chain: list[Node] = []
    node = tensor
    while is_call(node, *_VIEWS, *_TURNED):
        chain.append(node)
        node = node.args[0]  # type: ignore[assignment]
    copy = node.args[0] if is_call(node, aten.select.int) else None
    if not isinstance(copy, Node) or not is_call(copy, aten.clone.default) or _changes(graph):
        return tensor
    source = torch.empty(shape_of(node), device="meta")
    split = _split(source, _viewed(source, chain[::-1]))
    if split is None:
        return tensor
    shape, order = split
    write = Writer(graph)
    found = write.called(aten.select.int, shape_of(node), copy.args[0], *node.args[1:])
    found = write.called(aten.reshape.default, tuple(shape), found, shape)
    return write.called(aten.permute.default, shape_of(tensor), found, order)


def _changes(graph: GraphModule) -> bool:
    """Whether a graph changes tensors in place: the copy may be there for that."""
    schemas = (getattr(node.target, "_schema", None) for node in graph.graph.nodes)
    return any(schema is not None and schema.is_mutable for schema in schemas)


def _viewed(tensor: Tensor, chain: Sequence[Node]) -> Tensor | None:
    """What becomes of a tensor; None if that copies it."""
    try:
        for each in chain:
            shape = shape_of(each)
            is_view = is_call(each, *_VIEWS)
            tensor = tensor.view(shape) if is_view else each.target(tensor, *each.args[1:])  # type: ignore[operator]
    except RuntimeError:  # no view has this form
        return None
    return tensor


def _split(source: Tensor, view: Tensor | None) -> tuple[list[int], list[int]] | None:
    """The shape that a source's dimensions are split to, and their order in a view; None if it is another view."""
    if view is None or view.numel() != source.numel() or 1 in view.shape:
        return None
    along = sorted(range(view.dim()), key=view.stride().__getitem__, reverse=True)
    shape = [view.shape[d] for d in along]
    ends = {math.prod(shape[:k]) for k in range(len(shape) + 1)}
    borders = {math.prod(source.shape[:k]) for k in range(source.dim() + 1)}
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    if [view.stride(d) for d in along] != strides or not borders <= ends:
        return None
    return shape, [along.index(d) for d in range(view.dim())]
