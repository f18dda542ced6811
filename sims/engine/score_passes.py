"""A rewrite of traced graphs: a last layer's scores, their losses and the largest, in one kernel."""

from __future__ import annotations

import math
import operator

import torch
from torch.fx import GraphModule, Node

from gossipfl.kernels.scores import OPERATOR, is_available
from sims.engine.graph_passes import is_call, shape_of
from sims.engine.graph_views import Writer
from sims.engine.score_ends import LOSSES, Compared, End, end_of

__all__ = ["scores_at_targets"]

aten = torch.ops.aten
_NUMBERS, _CLASSES = torch.float32, torch.int64


def scores_at_targets(graph: GraphModule) -> GraphModule:
    """Let a graph call a kernel for each linear layer of which only losses and largest scores are used, in place.

    Anything else that reads the scores, such as another metric, leaves them as they are.
    """
    graph.graph.eliminate_dead_code()
    for node in list(graph.graph.nodes):
        end = end_of(node)
        if end is not None and is_available():
            _rewrite(graph, end)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _rewrite(graph: GraphModule, end: End) -> None:
    assert end.first is not None  # noqa: S101 - `end_of` found it
    write = Writer(graph)
    for node in end.late:
        end.first.prepend(node)
    with graph.graph.inserting_before(end.first):
        logarithms, largest = _called(write, end)
    for scores in end.largest:
        with graph.graph.inserting_before(scores.node):
            found = write.shaped(write.there(largest, scores), *shape_of(scores.node))
        scores.node.replace_all_uses_with(found)
        graph.graph.erase_node(scores.node)
    for each in end.compared:
        node = each.scores.node
        with graph.graph.inserting_before(node):
            found = write.there(logarithms, each.scores)
            if is_call(node, *LOSSES):
                found = _loss(write, found, each)
        for user in [node] if is_call(node, aten.gather.default) else list(node.users):
            user.replace_all_uses_with(found)
            graph.graph.erase_node(user)
        if is_call(node, *LOSSES):
            graph.graph.erase_node(node)


def _called(write: Writer, end: End) -> tuple[Node, Node]:
    """The kernel's call: logarithms and classes of the largest scores, of the product's shape with one class."""
    *_, left, right = end.product.args
    assert isinstance(left, Node) and isinstance(right, Node)  # noqa: S101 - tensors
    *rows, lines, classes = shape_of(end.product)
    row, width = (rows or [1])[0], shape_of(left)[-1]
    last = len(rows), len(rows) + 1
    turned = write.called(aten.transpose.int, (*rows, classes, width), right, *last)
    bias = end.bias
    if bias is not None:
        bias = write.shaped(bias, math.prod(shape_of(bias)) // classes, classes)
        if shape_of(bias)[0] != row:
            bias = write.called(aten.expand.default, (row, classes), bias, [row, classes])
    compared = end.compared[0]
    targets = (
        write.shaped(compared.targets, *compared.scores.steps[-1].after) if compared.scores.steps else None
    )
    targets = compared.targets if targets is None else write.back(targets, compared.scores)
    call = write.graph.graph.call_function(
        OPERATOR,
        (
            write.shaped(left, row, lines, width),
            write.shaped(turned, row, classes, width),
            bias,
            write.shaped(targets, row, lines),
            compared.ignored,
        ),
    )
    found = []
    for place, dtype in enumerate((_NUMBERS, _CLASSES)):
        one = write.called(operator.getitem, (row, lines), call, place, dtype=dtype)
        found.append(write.shaped(one, *rows, lines, 1))
    return found[0], found[1]


def _loss(write: Writer, logarithms: Node, compared: Compared) -> Node:
    """What ``nll_loss`` makes of logarithms at its targets, 0 where they are ignored."""
    _, targets, _, reduction, ignored = compared.scores.node.args
    assert isinstance(targets, Node)  # noqa: S101 - a tensor
    if reduction == 0:
        shape = shape_of(targets)
        return write.called(aten.neg.default, shape, write.shaped(logarithms, *shape))
    total = write.called(aten.sum.default, (), logarithms)
    if reduction == 1:
        counts = write.called(aten.ne.Scalar, shape_of(targets), targets, ignored, dtype=torch.bool)
        count = write.called(aten.sum.default, (), counts, dtype=_CLASSES)
        total = write.called(aten.div.Tensor, (), total, count)
    return write.called(aten.neg.default, (), total)
