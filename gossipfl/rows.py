"""Modules as flat rows: the one form in which gossipfl trains, merges, sends and stores a model.

Which number lies where is in a row's `gossipfl.layout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from gossipfl.errors import IncompatibleModel
from gossipfl.layout import Layout

__all__ = ["Rows", "from_tensors", "load_row", "relaid", "require_width", "to_row", "to_tensors"]


class Rows(Protocol):
    """Rows ``[N, width]`` that are read some at a time: a tensor, or what stands for one that does not fit."""

    @property
    def dtype(self) -> torch.dtype:
        """Of rows that are read."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are read to."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> Tensor: ...

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """Rows at these places, ``[B, width]``; ``dim`` is 0."""
        ...


def to_row(module: nn.Module, layout: Layout) -> Tensor:
    """Copy a module's state into a new row.

    Returns
    -------
    Tensor
        Shape ``[D]``, float32. Other dtypes are converted: exactly, but for float64 parameters that are trained.

    Raises
    ------
    IncompatibleModel
        If the module does not have the tensors the layout names.
    """
    return from_tensors(_state_of(module), layout)


def load_row(module: nn.Module, layout: Layout, row: Tensor) -> None:
    """Copy a row (shape ``[D]``, float32) into a module, in place, in the module's own dtypes.

    Raises
    ------
    IncompatibleModel
        If the row has another size, or the module does not have the tensors the layout names.
    """
    if row.shape != (layout.size,):
        raise IncompatibleModel(
            "the row has another size than the layout",
            expected=(layout.size,),
            got=tuple(row.shape),
            remedy="Rows of simulations leave out what is frozen: take the layout of the result.",
        )
    state = _state_of(module)
    _check_names(state, layout)
    with torch.no_grad():
        for name, tensor in to_tensors(row, layout).items():
            state[name].copy_(tensor)


def _state_of(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _check_names(state: Mapping[str, Tensor], layout: Layout) -> None:
    for entry in layout.entries:
        found = tuple(state[entry.name].shape) if entry.name in state else "no such tensor"
        if found != entry.shape:
            raise IncompatibleModel(
                f"the module does not fit the layout at {entry.name!r}", expected=entry.shape, got=found
            )


def to_tensors(rows: Tensor, layout: Layout) -> dict[str, Tensor]:
    """View rows as named tensors.

    Parameters
    ----------
    rows : Tensor
        Shape ``[..., D]``, float32.

    Returns
    -------
    dict of str to Tensor
        Each of shape ``[..., *entry.shape]`` and the entry's dtype. Views of ``rows`` where the dtype is
        float32, converted copies elsewhere.

    Raises
    ------
    IncompatibleModel
        If the rows have another width than the layout.
    """
    require_width(rows, layout)
    return {entry.name: entry.read(rows) for entry in layout.entries}


def require_width(rows: Tensor, layout: Layout) -> None:
    """Require rows ``[..., D]`` of the layout's width.

    Raises
    ------
    IncompatibleModel
    """
    if rows.shape[-1] != layout.size:
        raise IncompatibleModel(
            "rows have another width than the layout", expected=layout.size, got=rows.shape[-1]
        )


def from_tensors(tensors: Mapping[str, Tensor], layout: Layout) -> Tensor:
    """Pack named tensors into rows; the inverse of `to_tensors`.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Each of shape ``[..., *entry.shape]`` with the same leading dimensions.

    Returns
    -------
    Tensor
        New rows, shape ``[..., D]``, float32.

    Raises
    ------
    IncompatibleModel
        If a tensor is missing, or the trailing dimensions of one are not its entry's shape.
    """
    parts = []
    for entry in layout.entries:
        tensor = tensors.get(entry.name)
        split = None if tensor is None else tensor.dim() - len(entry.shape)
        if tensor is None or split is None or split < 0 or tuple(tensor.shape[split:]) != entry.shape:
            raise IncompatibleModel(
                f"tensor {entry.name!r} does not fit the layout",
                expected=f"[..., {', '.join(map(str, entry.shape))}]",
                got="no such tensor" if tensor is None else tuple(tensor.shape),
            )
        parts.append(entry.flat(tensor.detach()))
    return torch.cat(parts, dim=-1)


def relaid(rows: Tensor, before: Layout, after: Layout, *, whole: tuple[Tensor, Layout]) -> Tensor:
    """Rows in another layout of the same module, one that leaves out more or less of what is not trained.

    Parameters
    ----------
    rows : Tensor
        Shape ``[..., D]`` of ``before``.
    before, after : Layout
    whole : (Tensor, Layout)
        A new module's row ``[D']``, which has what rows left out, and its layout, with nothing left out.
    """
    require_width(rows, before)
    first, layout = whole
    there = {entry.name: entry for entry in before.entries}
    known = {entry.name: entry for entry in layout.entries}
    made = rows.new_empty((*rows.shape[:-1], after.size))
    for entry in after.entries:
        source, held = (rows, there[entry.name]) if entry.name in there else (first, known[entry.name])
        part = source[..., held.offset : held.offset + held.size]
        made[..., entry.offset : entry.offset + entry.size] = part
    return made
