"""The module itself on one row: torch's own forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import xxhash
from torch import Tensor, nn

from gossipfl.errors import InvalidTask
from gossipfl.layout import Entry, Layout
from gossipfl.tasks.samples import Tree

__all__ = ["Loss", "OwnModule"]

Loss = Callable[[Any, Any], Tensor]
Outcome = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

_LARGE = 2**22  # numbers; of a smaller row a copy costs nothing
_ALIGNMENT = 64  # bytes: torch's own; products may depend on where their factors lie


class OwnModule:
    """A module that takes on one row after another.

    Whatever happens in it happens as in torch: what is computed again in the backward pass, hooks, parameters and
    buffers that a forward pass changes. Not to be used from two threads at once.

    Of a large model there is no second copy: its parameters are parts of the row, or of a copy of it as long as it
    is not known that the module leaves them alone (`trust`).

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
        self._untrained = [place for place in self._places if place.entry.group == "untrained"]
        in_row, persistent = {entry.name for entry in layout.entries}, module.state_dict().keys()
        named = dict(module.named_parameters()) | dict(module.named_buffers())  # each under one name
        self._constants = [_Constant(module, name) for name in named.keys() & persistent - in_row]
        self._is_trusted = False
        self._is_large = layout.trainable_size >= _LARGE
        if self._is_large:
            for place in self._trained:
                place.release()

    def trust(self) -> None:
        """Let parameters be parts of large rows themselves: the module was seen to leave them alone."""
        self._is_trusted = True

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
        trainable : Tensor
            Shape ``[trainable_size]``: the parameters as the forward pass left them; a view of the row where it
            left them alone.
        untrained : Tensor
            Shape ``[D − trainable_size]``: the rest of the row, likewise.
        reached : Tensor
            Which trained parameters have a gradient, bool ``[T]``.

        Raises
        ------
        InvalidTask
            If the forward pass puts another parameter in the place of one, changes the form of a buffer, or
            changes what is not in the row.
        """
        lent, digest = self._lent(row)
        with torch.no_grad():
            for place in self._places:
                place.load(row, lent)
        versions = [place.tensor._version for place in self._places]
        with torch.enable_grad():
            value = loss(self.call(inputs), targets)
            value.backward()  # type: ignore[no-untyped-call]
        for constant in self._constants:
            constant.require_unchanged()
        with torch.no_grad():
            reached = torch.tensor([place.tensor.grad is not None for place in self._trained])
            gradient = self._gradient(row)
            flat = {place: place.flat(row.dtype) for place in self._places}
            is_intact = digest is None or _digest_of(row) == digest
            for place, version in zip(self._places, versions, strict=True):
                place.is_changed = not is_intact or place.tensor._version != version
                place.is_changed |= not place.is_as_in(row, flat[place])
                place.was_changed |= place.is_changed
            width = len(gradient)
            trainable, untrained = (
                torch.cat([flat[place] for place in places])
                if any(place.is_changed for place in places)
                else before
                for places, before in ((self._trained, row[:width]), (self._untrained, row[width:]))
            )
        if self._is_large:
            for place in self._trained:
                place.release()
        return value.detach(), gradient, trainable, untrained, reached

    def _lent(self, row: Tensor) -> tuple[Tensor | None, int | None]:
        """What parameters become parts of, if anything; and the row's digest, if it is the row itself."""
        if not self._is_large:
            return None, None
        is_aligned = row.data_ptr() % _ALIGNMENT == 0
        is_readable = row.device.type == "cpu"  # elsewhere a copy costs less than a digest
        if self._is_trusted and is_aligned and is_readable and not self.wrote_parameters:
            return row, _digest_of(row)
        return row.clone(), None

    def _gradient(self, row: Tensor) -> Tensor:
        """Gradients of all parameters as a part of a row; each is released as soon as it has been copied."""
        gradient = row.new_empty(sum(place.entry.size for place in self._trained))
        for place in self._trained:
            gradient[place.entry.offset : place.entry.offset + place.entry.size] = place.gradient(row.dtype)
        return gradient

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


class _Constant:
    """A frozen parameter or buffer that the row leaves out, for it was seen to stay."""

    def __init__(self, module: nn.Module, name: str) -> None:
        path, _, self._key = name.rpartition(".")
        owner = module.get_submodule(path)
        self._registry: dict[str, Any] = (
            owner._parameters if self._key in owner._parameters else owner._buffers
        )
        self._name, self._tensor = name, cast(Tensor, self._registry[self._key])
        self._version = self._tensor._version

    def require_unchanged(self) -> None:
        """Refuse a module that changes it after all.

        Raises
        ------
        InvalidTask
        """
        if self._registry.get(self._key) is not self._tensor or self._tensor._version != self._version:
            raise InvalidTask(
                f"the module changes {self._name!r}, which it left alone when it was tried",
                expected="a frozen parameter or buffer that either stays or changes with every batch",
                remedy="Write to it in every forward pass, with copy_(), and be it its own value.",
            )


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
        self.is_changed = self.was_changed = False
        self._memory: Tensor | None = tensor.data

    def release(self) -> None:
        """Keep no memory until a row is loaded."""
        self._memory = None
        self.tensor.data = self.tensor.data.new_zeros(()).expand(self.entry.shape)

    def load(self, row: Tensor, lent: Tensor | None) -> None:
        """Take on the values of a row, in place: whatever refers to the tensor sees them.

        Without memory of its own it becomes a part of ``lent``, which has the same values.
        """
        if self._memory is None:
            assert lent is not None  # noqa: S101 - of large rows
            self.tensor.data = self.entry.read(lent)
        elif self.tensor.data_ptr() != self._memory.data_ptr():
            self.tensor.data = self._memory
        self._registry[self._name] = self.tensor
        self.tensor.grad = None
        if self._memory is not None:
            self._memory.copy_(self.entry.read(row))

    def is_as_in(self, row: Tensor, other: Tensor) -> bool:
        """Whether a row has these values here."""
        one = row[self.entry.offset : self.entry.offset + self.entry.size]
        if one.data_ptr() == other.data_ptr():
            return True
        return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())

    def gradient(self, dtype: torch.dtype) -> Tensor:
        """Gradient as a part of a row; zeros where there is none."""
        gradient, self.tensor.grad = self.tensor.grad, None
        if gradient is None:
            return torch.zeros(self.entry.size, dtype=dtype, device=self.tensor.device)
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


def _digest_of(row: Tensor) -> int:
    return xxhash.xxh3_64_intdigest(row.numpy().data)
