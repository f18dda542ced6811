"""A codec of variable size, as compressors will be: the k largest entries as indices and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs import PayloadTensor, TensorSpec, payload_of, require_admitted, tensor_of
from gossipfl.errors import UnexpectedTensor


@dataclass(frozen=True)
class LargestEntries:
    count: int
    name: str = "largest-entries"

    def encode(self, row: Tensor, *, key: int = 0) -> tuple[PayloadTensor, ...]:
        indices = row.abs().topk(min(self.count, row.numel())).indices.sort().values
        return payload_of("indices", indices.to(torch.int32)), payload_of("values", row[indices])

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        most = (min(self.count, size),)
        return TensorSpec("indices", "int32-le", most, (0,)), TensorSpec("values", "float32-le", most, (0,))

    def decode(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        require_admitted([each.header for each in tensors], self.expected(size))
        indices, values = (tensor_of(each) for each in tensors)
        if len(indices) != len(values):
            raise UnexpectedTensor("not one value an index", expected=len(indices), got=len(values))
        if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < size):
            raise UnexpectedTensor("an index is out of range", expected=f"0 to {size - 1}")
        row = torch.zeros(size)
        row[indices.long()] = values
        return row
