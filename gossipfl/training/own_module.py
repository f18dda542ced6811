"""The module itself on one row: torch's own forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gossipfl.errors import InvalidTask
from gossipfl.rows import Entry, Layout
from gossipfl.tasks.samples import Tree

__all__ = ["Loss", "OwnModule"]

Loss = Callable[[Any, Any], Tensor]
Outcome = tuple[Tensor, Tensor, Tensor, Tensor]


class OwnModule:
    """A module that takes on one row after another.

    Whatever happens in it happens as in torch: what is computed again in the backward pass, hooks, parameters and
    buffers that a forward pass changes. Not to be used from two threads at once.

    Parameters
    ----------
    module : torch.nn.Module
        In training mode from now on; its parameters and buffers are overwritten.
    layout : Layout
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        self.module = module.train()
        self._places = [_Place(module, entry) for entry in layout.entries]
        self._trained = [place for place in self._places if place.entry.group != "untrained"]

    def differentiate(self, row: Tensor, inputs: Tree, targets: Tree, loss: Loss) -> Outcome:
        """Differentiate the loss of one batch.

        Parameters
        ----------
        row : Tensor
            Shape ``[D]``; left as it is.
        inputs, targets : Tree
            Shape ``[S, ...]`` each.
        loss : callable
            Of outputs and targets.

        Returns
        -------
        loss : Tensor
            Scalar.
        gradient : Tensor
            Shape ``[trainable_size]``.
        after : Tensor
            Shape ``[D]``: the row as the forward pass left it.
        reached : Tensor
            Which trained parameters have a gradient, bool ``[T]``.

        Raises
        ------
        InvalidTask
            If the forward pass puts another parameter in the place of one, or changes the form of a buffer.
        """
        with torch.no_grad():
            for place in self._places:
                place.load(row)
        versions = [place.tensor._version for place in self._places]
        with torch.enable_grad():
            value = loss(self.call(inputs), targets)
            value.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            reached = torch.tensor([place.tensor.grad is not None for place in self._trained])
            gradient = torch.cat([place.gradient(row.dtype) for place in self._trained])
            after = torch.cat([place.flat(row.dtype) for place in self._places])
        for place, version in zip(self._places, versions, strict=True):
            place.was_changed |= place.tensor._version != version or not place.is_as_in(row, after)
        return value.detach(), gradient, after, reached

    @property
    def wrote_parameters(self) -> bool:
        """Whether parameters that are trained have ever been changed by a forward or backward pass."""
        return any(place.was_changed for place in self._trained)

    def fixed(self) -> frozenset[str]:
        """Names of frozen parameters and buffers that no pass has changed so far."""
        return frozenset(
            place.entry.name
            for place in self._places
            if place.entry.group == "untrained" and not place.was_changed
        )

    def call(self, inputs: Tree) -> Any:  # noqa: ANN401 - whatever a module returns
        """Call the module: with one tensor, a tuple of arguments, or a dictionary of keyword arguments."""
        if isinstance(inputs, dict):
            return self.module(**inputs)
        return self.module(*inputs) if isinstance(inputs, tuple | list) else self.module(inputs)


class _Place:
    """One parameter or buffer of a module, and the memory that it keeps."""

    def __init__(self, module: nn.Module, entry: Entry) -> None:
        path, _, self._name = entry.name.rpartition(".")
        owner = module.get_submodule(path)
        self.entry = entry
        self._registry: dict[str, Any] = (
            owner._parameters if self._name in owner._parameters else owner._buffers
        )
        tensor = self._registry[self._name]
        assert tensor is not None  # noqa: S101 - the layout was made from it
        self.tensor = tensor
        self.was_changed = False
        self._memory = tensor.data

    def load(self, row: Tensor) -> None:
        """Take on the values of a row, in place: whatever refers to the tensor sees them."""
        if self.tensor.data_ptr() != self._memory.data_ptr():
            self.tensor.data = self._memory
        self._registry[self._name] = self.tensor
        self.tensor.grad = None
        self._memory.copy_(self.entry.read(row))

    def is_as_in(self, row: Tensor, after: Tensor) -> bool:
        """Whether two rows are the same here."""
        here = slice(self.entry.offset, self.entry.offset + self.entry.size)
        one, other = row[here], after[here]
        return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())

    def gradient(self, dtype: torch.dtype) -> Tensor:
        """Gradient as a part of a row; zeros where there is none."""
        gradient, self.tensor.grad = self.tensor.grad, None
        if gradient is None:
            return torch.zeros(self.entry.size, dtype=dtype)
        return (gradient.to_dense() if gradient.layout != torch.strided else gradient).reshape(-1).to(dtype)

    def flat(self, dtype: torch.dtype) -> Tensor:
        """Values as a part of a row."""
        now = self._registry[self._name]
        is_parameter = isinstance(self.tensor, nn.Parameter)
        if now is None or now.shape != self.entry.shape or (is_parameter and now is not self.tensor):
            raise InvalidTask(
                f"the forward pass replaces {self.entry.name!r}",
                expected="a parameter that stays, or a buffer of the same shape",
                got="nothing" if now is None else f"a {type(now).__name__} of shape {list(now.shape)}",
                remedy="Change the values instead, such as with copy_().",
            )
        return self.entry.flat(now.detach(), dtype=dtype)
