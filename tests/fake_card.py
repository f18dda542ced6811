"""A card that is none: tensors that say they are on ``meta``, and refuse to meet tensors of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["fake_card"]

_CARD = torch.device("meta")
_COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
_PLACED = {torch.ops.aten.index_put_.default, torch.ops.aten.index.Tensor}  # indices of the CPU are copied


class OnCard(Tensor):
    """A tensor of the CPU that says it is on the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        strided = held.layout is torch.strided
        made: OnCard = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride() if strided else None,
            storage_offset=held.storage_offset() if strided else None,
            dtype=held.dtype,
            device=held.device,
            dispatch_device=True,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnCard({self.held})"

    @classmethod
    def __torch_dispatch__(cls, call: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        return _called(call, arguments, named or {})

    def numpy(self, **named: Any) -> Any:
        """Refuse, as a card's tensor does."""
        raise TypeError("can't convert meta device type tensor to numpy. Use Tensor.cpu() first")

    def tolist(self) -> Any:
        """Copy the numbers, as a card's tensor does."""
        return self.held.tolist()

    def __array__(self, *arguments: Any) -> Any:
        return self.numpy()

    def __getitem__(self, index: Any) -> Any:
        return Tensor.__getitem__(self, _without_lists(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        Tensor.__setitem__(self, _without_lists(index), value)


def _without_lists(index: Any) -> Any:
    """An index whose lists of numbers are tensors: of lists torch makes tensors on ``meta``, without numbers."""
    if isinstance(index, tuple):
        return tuple(_without_lists(each) for each in index)
    return _plain_tensor(index) if isinstance(index, list) else index


class _Card(TorchDispatchMode):
    def __torch_dispatch__(self, call: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        return _called(call, arguments, named or {})


def _called(call: Any, arguments: Any, named: dict[str, Any]) -> Any:
    if call is torch.ops.prim.device.default:
        return _CARD if isinstance(arguments[0], OnCard) else arguments[0].device
    flat = [each for each in tree_flatten((arguments, named))[0] if isinstance(each, Tensor)]
    on_card = [each for each in flat if isinstance(each, OnCard)]
    asked = named.get("device")
    wanted = torch.device(asked) if asked is not None else None
    if on_card and call not in _COPIES:
        for each in flat:
            placed_by_index = call in _PLACED and isinstance(arguments[0], OnCard)
            if not isinstance(each, OnCard) and each.dim() and not placed_by_index:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found meta and cpu in {call}"
                )
    if call is torch.ops.aten.copy_.default:
        to_card = isinstance(arguments[0], OnCard)
    elif wanted is not None:
        to_card = wanted.type == _CARD.type
    else:
        to_card = bool(on_card)
    if wanted is not None:
        named = {**named, "device": torch.device("cpu")}
    plain = tree_map(lambda each: each.held if isinstance(each, OnCard) else each, (arguments, named))
    found = call(*plain[0], **plain[1])
    of = {id(each.held): each for each in on_card}

    def placed(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        if id(each) in of:  # written to in place
            return of[id(each)]
        for one in flat:
            if one is each:
                return each
        return OnCard(each) if to_card else each

    return tree_map(placed, found)


_plain_tensor = torch.tensor


def _tensor(data: Any, *, device: Any = None, **named: Any) -> Tensor:
    """`torch.tensor`, which forgets the numbers of tensors on ``meta``."""
    made = _plain_tensor(data, **named)
    return made if device is None else made.to(device)


@contextmanager
def fake_card() -> Iterator[None]:
    """Make ``meta`` a device of tensors that hold their numbers on the CPU."""
    with patch.object(torch, "tensor", _tensor), _Card():
        yield
