"""Samples as trees: tensors, or tuples and dictionaries of them, with one sample a first index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from gossipfl.errors import InvalidTask

__all__ = [
    "Tree",
    "Weighted",
    "call_module",
    "class_labels",
    "copied",
    "count",
    "describe",
    "flatten",
    "in_memory",
    "joined",
    "leaves",
    "map_leaves",
    "named_leaves",
    "placed",
    "real_dtype",
    "signature",
    "stacked",
    "take",
    "unflatten",
]

#: A tensor, or a tuple, list or dictionary of trees.
Tree: TypeAlias = Any


class Weighted(NamedTuple):
    """Targets whose samples have different weights in the loss.

    Parameters
    ----------
    targets : Tree
        Shape ``[n, ...]`` each.
    weights : Tensor
        Shape ``[n]``, none negative: a batch's loss is ``Σ w ℓ / Σ w``.
    """

    targets: Tree
    weights: Tensor


def leaves(tree: Tree) -> list[Any]:
    """Tensors of a tree, in order; the tree itself if it is one tensor."""
    return pytree.tree_leaves(tree)


def flatten(tree: Tree) -> tuple[list[Any], pytree.TreeSpec]:
    """Leaves of a tree, and its form for `unflatten`."""
    return pytree.tree_flatten(tree)


def unflatten(found: Sequence[Any], form: pytree.TreeSpec) -> Tree:
    """Tree of a form, from its leaves."""
    return pytree.tree_unflatten(list(found), form)


def named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    """Leaves with the path to each, such as ``['mask']``; an empty path if the tree is one tensor."""
    return [(pytree.keystr(path), leaf) for path, leaf in pytree.tree_flatten_with_path(tree)[0]]


def map_leaves(function: Callable[..., Any], *trees: Tree) -> Tree:
    """Tree of the same form, with a function applied to each leaf."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    return pytree.tree_map(function, *trees)


def count(tree: Tree) -> int:
    """Number of samples in a tree."""
    return len(leaves(tree)[0])


def in_memory(tree: Tree) -> bool:
    """Whether all leaves are tensors, rather than read from disk on demand."""
    return all(isinstance(leaf, Tensor) for leaf in leaves(tree))


def take(tree: Tree, index: Any) -> Tree:  # noqa: ANN401 - whatever indexes a tensor
    """Samples at an index: each leaf's ``leaf[index]``."""
    return map_leaves(lambda leaf: leaf[index], tree)


def copied(tree: Tree) -> Tree:
    """Tree of copies, for code that may write into its arguments."""
    return map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, tree)


def placed(tree: Tree, device: torch.device) -> Tree:
    """Tree with its tensors on a device, copied where they lie elsewhere."""
    return map_leaves(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, tree)


def joined(trees: Sequence[Tree]) -> Tree:
    """Samples of several trees of one form, one after another.

    Raises
    ------
    InvalidTask
        If they stay on disk.
    """
    if not all(in_memory(tree) for tree in trees):
        raise InvalidTask(
            "samples that stay on disk cannot be pooled",
            expected="samples in memory, or mapped into it",
            remedy="Look at gossipfl.tasks.open_arrays; replay without --batched.",
        )
    return map_leaves(lambda *parts: torch.cat(parts), *trees)


def stacked(trees: Sequence[Tree]) -> Tree:
    """Trees of one form and shape, as ``[B, ...]``."""
    return map_leaves(lambda *parts: torch.stack(parts), *trees)


def real_dtype(tree: Tree) -> torch.dtype:
    """Dtype of the first leaf of real numbers; float32 if there is none."""
    found = (leaf.dtype for leaf in leaves(tree) if isinstance(leaf, Tensor) and leaf.is_floating_point())
    return next(found, torch.float32)


def class_labels(targets: Tree) -> NDArray[np.int64] | None:
    """Class of each sample, int64 ``[n]``; None if targets are not classes."""
    labels = targets.targets if isinstance(targets, Weighted) else targets
    if not isinstance(labels, Tensor) or labels.dim() != 1 or labels.is_floating_point():
        return None
    return labels.numpy().astype(np.int64)


def signature(tree: Tree) -> tuple[Any, ...]:
    """Form of one sample: structure, and shape and dtype of each leaf without its first dimension."""
    found, structure = pytree.tree_flatten(tree)
    forms = ((tuple(leaf.shape[1:]), leaf.dtype) if isinstance(leaf, Tensor) else None for leaf in found)
    return (str(structure), *forms)


def describe(tree: Tree) -> str:
    """Shapes and dtypes of a tree, for messages: ``[32, 10] float32``, or ``{'ids': [32, 7] int64}``."""
    if isinstance(tree, Tensor):
        return f"{list(tree.shape)} {str(tree.dtype).removeprefix('torch.')}"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {describe(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(map(describe, tree)) + ")"
    return type(tree).__name__


def call_module(module: nn.Module, tensors: dict[str, Tensor], inputs: Tree) -> Any:  # noqa: ANN401
    """Call a module with the given parameters and buffers.

    One tensor is the module's argument, a tuple its arguments, and a dictionary its keyword arguments.

    Parameters
    ----------
    module : torch.nn.Module
    tensors : dict of str to Tensor
        Parameters and buffers in place of the module's own.
    inputs : Tree
        A batch, ``[S, ...]`` each.

    Returns
    -------
    object
        The module's return value.
    """
    if isinstance(inputs, dict):
        return functional_call(module, tensors, (), inputs)
    arguments = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    return functional_call(module, tensors, arguments)
