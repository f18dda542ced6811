"""A rewrite of traced graphs: LSTM layers of tokens, whose inputs are entries of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from gossipfl.kernels import lstm
from sims.engine.graph_passes import is_call, shape_of
from sims.engine.graph_views import Moved, Writer, step_of

__all__ = ["layers_of_tokens"]

aten = torch.ops.aten
_LAYER = lstm.OPERATORS[0]
_KEEP, _TOKENS = 9, 10  # places of arguments
_MOST_VIEWS = 16
_MOST_NUMBERS = 1 << 16  # of all entries' gates: more would not stay in a core's cache beside the rest


def layers_of_tokens(graph: GraphModule) -> GraphModule:
    """Let layers without gradients compute each entry's part of their gates once, in place.

    A text is longer than its alphabet: where an embedding is two thirds as wide as the layer, two fifths of the
    layer's multiplications are left out.
    """
    graph.graph.eliminate_dead_code()
    for node in list(graph.graph.nodes):
        if is_call(node, _LAYER) and not node.args[_KEEP] and node.args[_TOKENS] is None:
            _rewrite(graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _rewrite(graph: GraphModule, layer: Node) -> None:
    inputs, of_state = layer.args[0], layer.args[2]
    assert isinstance(inputs, Node) and isinstance(of_state, Node)  # noqa: S101 - tensors
    looked_up = _embedding(inputs)
    if looked_up is None:
        return
    embedding, views = looked_up
    table, tokens = embedding.args[:2]
    assert isinstance(table, Node) and isinstance(tokens, Node)  # noqa: S101 - tensors
    (entries, width), (rows, steps, samples, _) = shape_of(table), shape_of(inputs)
    numbers = entries * shape_of(of_state)[1]
    if rows != 1 or 2 * entries > steps * samples or numbers > _MOST_NUMBERS:
        return
    moved = _followed(embedding, views)
    if moved is None or tokens.meta["tensor_meta"].dtype != torch.int64:
        return
    write = Writer(graph)
    with graph.graph.inserting_before(layer):
        line = write.shaped(tokens, *shape_of(tokens), 1)
        line = write.shaped(write.there(line, moved), rows, steps, samples)
        lines = write.shaped(table, rows, entries, 1, width)
    layer.args = (lines, *layer.args[1:_TOKENS], line)


def _embedding(inputs: Node) -> tuple[Node, Sequence[Node]] | None:
    """The embedding that inputs are views of, and these."""
    views: list[Node] = []
    node: Any = inputs
    while isinstance(node, Node) and not is_call(node, aten.embedding.default):
        if len(node.all_input_nodes) != 1 or len(views) > _MOST_VIEWS:
            return None
        views.append(node)
        node = node.args[0]
    return (node, views[::-1]) if isinstance(node, Node) else None


def _followed(embedding: Node, views: Sequence[Node]) -> Moved | None:
    """Where an embedding's numbers come to, if they stay together and last."""
    found: Moved | None = Moved(embedding, len(shape_of(embedding)) - 1)
    for view in views:
        found = None if found is None else step_of(found, view)
    return found if found is not None and found.place == len(found.shape) - 1 else None
