"""Ends of classifiers in traced graphs: products of which nothing but losses and largest scores is used."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.fx import Node

from sims.engine.graph_passes import is_call, shape_of
from sims.engine.graph_views import VIEWS, Moved, Shape, step_of

__all__ = ["LOSSES", "Compared", "End", "Scores", "end_of"]

aten = torch.ops.aten
_PRODUCTS = aten.mm.default, aten.addmm.default, aten.bmm.default
LOSSES = aten.nll_loss_forward.default, aten.nll_loss2d_forward.default
_OF_TARGETS = (*VIEWS, aten.ne.Scalar, aten.where.self, aten.scalar_tensor.default)
_NONE_IGNORED = -(1 << 63)
_WORTH_A_CALL = 1 << 16  # multiplications: of fewer, compiling the kernel would take longer than it saves
_NUMBERS, _CLASSES = torch.float32, torch.int64


@dataclass(frozen=True, slots=True)
class Scores(Moved):
    """Scores of a product somewhere on their way; their classes are one dimension."""

    are_logarithms: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """Logarithms of which those at targets alone are used."""

    scores: Scores
    targets: Node
    ignored: int


@dataclass(slots=True)
class End:
    """A product, and all that becomes of it."""

    product: Node
    bias: Node | None
    compared: list[Compared] = field(default_factory=list)
    largest: list[Scores] = field(default_factory=list)
    first: Node | None = None  # what the kernel's call has to stand before
    late: list[Node] = field(default_factory=list)  # what the call needs and has to be moved there


def end_of(product: Node) -> End | None:
    """What becomes of a product, if it is nothing but losses and largest scores."""
    if not is_call(product, *_PRODUCTS) or product.kwargs or product.meta["tensor_meta"].dtype != _NUMBERS:
        return None
    *bias, left, _ = product.args
    shape = shape_of(product)
    if shape[-1] < 2 or math.prod(shape) * shape_of(left)[-1] < _WORTH_A_CALL:  # type: ignore[arg-type]
        return None
    end = End(product, bias[0] if bias else None)  # type: ignore[arg-type]
    if end.bias is not None and not _is_bias(end.bias, shape):
        return None
    left_to_see = [Scores(product, len(shape) - 1)]
    while left_to_see:
        scores = left_to_see.pop()
        for user in scores.node.users:
            found = _followed(end, scores, user)
            if found is None:
                return None
            left_to_see += found
    calls = {_expression(each.targets, each.ignored, each.scores.steps) for each in end.compared}
    return end if len(calls) == 1 and _can_stand(end) else None


def _can_stand(end: End) -> bool:
    """Whether all that the kernel needs is known before anything uses what it finds, or can be."""
    order = {node: place for place, node in enumerate(end.product.graph.nodes)}
    leaves = [*(each.scores.node for each in end.compared), *(each.node for each in end.largest)]
    end.first = min(leaves, key=order.__getitem__)
    needed = [
        each for each in (*end.product.args, end.bias, end.compared[0].targets) if isinstance(each, Node)
    ]
    late: set[Node] = set()
    while needed:
        node = needed.pop()
        if order[node] > order[end.first] and node not in late:
            if not is_call(node, *_OF_TARGETS):
                return False
            late.add(node)
            needed += node.all_input_nodes
    end.late = sorted(late, key=order.__getitem__)
    return True


def _followed(end: End, scores: Scores, user: Node) -> list[Scores] | None:
    """Where scores go by one of their users; None where this needs them all."""
    if scores.are_logarithms and is_call(user, *LOSSES, aten.gather.default):
        return _noted(end.compared, _compared(scores, user))
    if not scores.are_logarithms and is_call(user, aten.argmax.default):
        return _noted(end.largest, replace(scores, node=user) if _is_over_classes(scores, user) else None)
    if not scores.are_logarithms and is_call(user, aten.add.Tensor):
        return _with_bias(end, scores, user)
    if not scores.are_logarithms and is_call(user, aten._log_softmax.default):
        converts = user.args[2]
        fits = not converts and _is_over_classes(scores, user)
        return [replace(scores, node=user, are_logarithms=True)] if fits else None
    step = step_of(scores, user)
    return None if step is None else [step]


def _noted(found: list[Any], one: object) -> list[Scores] | None:
    """Note where scores end; None if they do not."""
    if one is None:
        return None
    found.append(one)
    return []


def _is_over_classes(scores: Scores, user: Node) -> bool:
    dimension = user.args[1] if len(user.args) > 1 else None
    return isinstance(dimension, int) and dimension % len(scores.shape) == scores.place


def _compared(scores: Scores, user: Node) -> Compared | None:
    """A loss, or logarithms picked one for each line."""
    found = replace(scores, node=user)
    targets: Node
    if is_call(user, aten.gather.default):
        targets = user.args[2]  # type: ignore[assignment]
        fits = _is_over_classes(scores, user) and shape_of(targets) == scores.shape
        ignored = _NONE_IGNORED
    else:
        _, targets, weights, _, ignored = user.args  # type: ignore[assignment]
        is_used = all(is_call(each, operator.getitem) and each.args[1] == 0 for each in user.users)
        fits = is_used and weights is None and scores.place == 1
    dtype = targets.meta["tensor_meta"].dtype
    return Compared(found, targets, ignored) if fits and dtype == _CLASSES else None


def _with_bias(end: End, scores: Scores, user: Node) -> list[Scores] | None:
    """Scores to which a bias is added, the only one."""
    shape = shape_of(end.product)
    others = [each for each in user.args if each is not scores.node]
    fits = (
        shape_of(scores.node) == shape_of(user) == shape and not user.kwargs and len(scores.node.users) == 1
    )
    if end.bias is not None or not fits or len(others) != 1 or not _is_bias(others[0], shape):
        return None
    end.bias = others[0]  # type: ignore[assignment]
    return [replace(scores, node=user)]


def _is_bias(tensor: object, shape: Shape) -> bool:
    """Whether there is one number for each class, or for each class of each row."""
    if not isinstance(tensor, Node) or tensor.meta["tensor_meta"].dtype != _NUMBERS:
        return False
    *others, classes = shape_of(tensor)
    rows = shape[:-2] if len(others) == len(shape) - 1 else ()
    return classes == shape[-1] and (not any(n != 1 for n in others) or tuple(others) == (*rows, 1))


def _expression(value: Any, *others: Any) -> str:
    """What computes a value, the same text for the same computation."""
    if isinstance(value, Node) and is_call(value, *_OF_TARGETS):
        inside = [_expression(each) for each in (*value.args, *sorted(value.kwargs.items()))]
        found = f"{value.target}{inside}"
    elif isinstance(value, (list, tuple)):
        found = str([_expression(each) for each in value])
    else:
        found = str(value)
    return found + "".join(map(str, others))
