"""Views of tensors in graphs, followed there and back: where the lines of a product or a table come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch.fx import GraphModule, Node

from sims.engine.graph_passes import is_call, shape_of
from sims.engine.written_graphs import Form

__all__ = ["VIEWS", "Moved", "Shape", "Writer", "step_of"]

aten = torch.ops.aten
VIEWS = (
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.expand.default,
    aten.detach.default,
    aten.alias.default,
    aten.clone.default,
)
_NUMBERS = torch.float32

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """A view, of tensors with one number in place of a line: there and back."""

    forward: tuple[Any, Any]
    backward: tuple[Any, Any]
    before: Shape
    after: Shape


@dataclass(frozen=True, slots=True)
class Moved:
    """A tensor after some views, and which dimension its lines lie along."""

    node: Node
    place: int
    steps: tuple[_Step, ...] = ()

    @property
    def shape(self) -> Shape:
        """With one number in place of a line."""
        return _with_one(shape_of(self.node), self.place)


AnyMoved = TypeVar("AnyMoved", bound=Moved)


def step_of(moved: AnyMoved, user: Node) -> AnyMoved | None:
    """Numbers after a view of them; None if it takes lines apart, or is no view."""
    before = moved.shape
    if is_call(user, aten.transpose.int, aten.permute.default, aten.t.default):
        order = _order(user, len(before))
        back = [order.index(d) for d in range(len(order))]
        after = tuple(before[d] for d in order)
        turned = [d for d in order if before[d] != 1]
        if turned == sorted(turned):
            step = _reshape(before, after)
        else:
            step = _Step((aten.permute.default, order), (aten.permute.default, back), before, after)
        return replace(moved, node=user, place=back[moved.place], steps=(*moved.steps, step))
    if not is_call(user, *VIEWS):
        return None
    old, new = shape_of(moved.node), shape_of(user)
    ahead = math.prod(old[: moved.place])
    places = [d for d, n in enumerate(new) if n == old[moved.place] and math.prod(new[:d]) == ahead]
    if not places or math.prod(new) != math.prod(old):
        return None
    after = _with_one(new, places[0])
    step = _reshape(before, after)
    return replace(moved, node=user, place=places[0], steps=(*moved.steps, step))


def _reshape(before: Shape, after: Shape) -> _Step:
    return _Step((aten.reshape.default, list(after)), (aten.reshape.default, list(before)), before, after)


def _order(node: Node, dimensions: int) -> list[int]:
    order = list(range(dimensions))
    if is_call(node, aten.permute.default):
        return [d % dimensions for d in node.args[1]]  # type: ignore[union-attr,operator,misc]
    one, other = node.args[1:] if is_call(node, aten.transpose.int) else (0, dimensions - 1)
    order[one], order[other] = order[other], order[one]  # type: ignore[index]
    return order


def _with_one(shape: Shape, place: int) -> Shape:
    return (*shape[:place], 1, *shape[place + 1 :])


@dataclass(frozen=True, slots=True)
class Writer:
    """Calls that are inserted into a graph where it stands."""

    graph: GraphModule

    def called(self, target: Any, shape: Shape, *arguments: Any, dtype: torch.dtype = _NUMBERS) -> Node:
        """Insert a call that has one result."""
        found = self.graph.graph.call_function(target, arguments)
        found.meta["tensor_meta"] = Form(torch.Size(shape), dtype)
        return found

    def shaped(self, tensor: Node, *shape: int) -> Node:
        """Insert a reshape where one is needed, in place of those that led here."""
        while is_call(tensor, aten.reshape.default):
            tensor = tensor.args[0]  # type: ignore[assignment]
        if shape_of(tensor) == shape:
            return tensor
        dtype = tensor.meta["tensor_meta"].dtype
        return self.called(aten.reshape.default, shape, tensor, list(shape), dtype=dtype)

    def moved(self, tensor: Node, steps: Sequence[tuple[tuple[Any, Any], Shape]]) -> Node:
        """Insert views."""
        for (target, argument), shape in steps:
            if target is aten.reshape.default:
                tensor = self.shaped(tensor, *shape)
            else:
                dtype = tensor.meta["tensor_meta"].dtype
                tensor = self.called(target, shape, tensor, argument, dtype=dtype)
        return tensor

    def there(self, tensor: Node, moved: Moved) -> Node:
        """One number a line, moved as others were."""
        return self.moved(tensor, [(step.forward, step.after) for step in moved.steps])

    def back(self, tensor: Node, moved: Moved) -> Node:
        """One number for each place where lines came to, moved back."""
        return self.moved(tensor, [(step.backward, step.before) for step in reversed(moved.steps)])
