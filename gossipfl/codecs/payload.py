"""Tensors as explicit little-endian bytes, without copies where the host allows."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from gossipfl.errors import UnexpectedTensor

__all__ = [
    "DTYPES",
    "PayloadTensor",
    "TensorHeader",
    "TensorSpec",
    "payload_of",
    "require_admitted",
    "tensor_of",
]

#: Name of a dtype in messages -> torch dtype. The names state the byte order; no other order is ever sent.
DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "float32-le": torch.float32,
        "bfloat16-le": torch.bfloat16,
        "float16-le": torch.float16,
        "int64-le": torch.int64,
        "int32-le": torch.int32,
        "int16-le": torch.int16,
        "int8": torch.int8,
        "uint8": torch.uint8,
    }
)
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Description of one tensor in a message: name, dtype (a key of `DTYPES`) and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Length of the tensor's bytes."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class PayloadTensor:
    """One tensor as bytes.

    Parameters
    ----------
    header : TensorHeader
    data : memoryview, ``header.nbytes`` bytes
        The elements in row-major order, little-endian.
    """

    header: TensorHeader
    data: memoryview


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Expected form of a tensor in a valid payload: its name, its dtype, and a range for each dimension.

    Parameters
    ----------
    name, dtype : str
    most, least : tuple of int
        Largest and smallest shape; `least` defaults to `most`, that is, to one exact shape.
    """

    name: str
    dtype: str
    most: tuple[int, ...]
    least: tuple[int, ...] | None = None

    @property
    def most_bytes(self) -> int:
        """Length of the bytes of the largest tensor admitted."""
        return TensorHeader(self.name, self.dtype, self.most).nbytes

    def admits(self, header: TensorHeader) -> bool:
        """Return whether a tensor with this header may be read."""
        least = self.most if self.least is None else self.least
        return (
            header.name == self.name
            and header.dtype == self.dtype
            and len(header.shape) == len(self.most)
            and all(low <= n <= high for low, n, high in zip(least, header.shape, self.most, strict=True))
        )

    def __str__(self) -> str:
        shape = f"{list(self.most)}" if self.least is None else f"{list(self.least)} to {list(self.most)}"
        return f"{self.name} {self.dtype} {shape}"


def require_admitted(headers: Sequence[TensorHeader], specs: Sequence[TensorSpec]) -> None:
    """Require that the tensors of a payload are those the specifications name, in their order.

    Raises
    ------
    UnexpectedTensor
        Another number of tensors, or one with another name, dtype or shape.
    """
    remedy = "Both peers must share the same layout and codec."
    if len(headers) != len(specs):
        raise UnexpectedTensor(
            "the payload has the wrong number of tensors",
            expected=len(specs),
            got=len(headers),
            remedy=remedy,
        )
    for header, spec in zip(headers, specs, strict=True):
        if not spec.admits(header):
            found = f"{header.name[:64]!a} {header.dtype[:64]!a} {list(header.shape[:8])}"
            raise UnexpectedTensor("a tensor is not as implied", expected=spec, got=found, remedy=remedy)


def payload_of(name: str, tensor: Tensor, *, byteorder: str = sys.byteorder) -> PayloadTensor:
    """Give a tensor's bytes: a read-only view of its memory on a little-endian host, one copy on another.

    Parameters
    ----------
    name : str
        Name of the tensor in the message.
    tensor : Tensor, any shape
        On the CPU and contiguous, or it is copied once.
    byteorder : {"little", "big"}
        Order in which this host keeps numbers.
    """
    tensor = tensor.detach().cpu().contiguous()
    header = TensorHeader(name, _NAMES[tensor.dtype], tuple(tensor.shape))
    # An empty tensor may have a stride of 0, which view() refuses.
    flat = tensor.reshape(-1).view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)
    if byteorder == "big":
        flat = _swapped(flat, tensor.dtype.itemsize)
    data: memoryview = flat.numpy().data
    return PayloadTensor(header, data.toreadonly())


def tensor_of(payload: PayloadTensor, *, byteorder: str = sys.byteorder) -> Tensor:
    """Read a tensor: a view of the payload's memory if that is writable, aligned and in the host's order.

    Otherwise its bytes are copied once. The payload's length must be what its header says.

    Raises
    ------
    UnexpectedTensor
        The length of the bytes is another.
    """
    header, dtype = payload.header, DTYPES[payload.header.dtype]
    if payload.data.nbytes != header.nbytes:
        raise UnexpectedTensor(
            f"tensor {header.name!a} has another number of bytes than its shape implies",
            expected=header.nbytes,
            got=payload.data.nbytes,
        )
    if header.nbytes == 0:
        return torch.empty(header.shape, dtype=dtype)
    # torch warns about read-only memory, because it could not stop a later write to it.
    data = bytearray(payload.data) if payload.data.readonly else payload.data
    flat = torch.frombuffer(data, dtype=torch.uint8)
    if byteorder == "big":
        flat = _swapped(flat, dtype.itemsize)
    elif flat.data_ptr() % dtype.itemsize:
        flat = flat.clone()
    return flat.view(dtype).reshape(header.shape)


def _swapped(flat: Tensor, itemsize: int) -> Tensor:
    return flat.reshape(-1, itemsize).flip(-1).reshape(-1)
