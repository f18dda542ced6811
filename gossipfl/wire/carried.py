"""Further rows of a message, such as a momentum buffer, whose tensors follow those of the model's row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossipfl.codecs import FLOAT32, Codec, PayloadTensor, TensorSpec, is_finite
from gossipfl.errors import NonFiniteUpdate

__all__ = ["CarriedRow", "decode_carried", "encode_carried", "expected_carried"]


@dataclass(frozen=True, slots=True)
class CarriedRow:
    """A further row of every message.

    Parameters
    ----------
    name : str
        Prefix of its tensors' names, before a full stop.
    size : int or None
        Length of the row; None for a single number, which is never compressed.
    """

    name: str
    size: int | None

    def codec(self, codec: Codec) -> Codec:
        """Return its codec if the model's is `codec`."""
        return FLOAT32 if self.size is None else codec

    @property
    def numbers(self) -> int:
        """Number of elements."""
        return 1 if self.size is None else self.size


def encode_carried(carried: Mapping[str, Tensor], *, codec: Codec, key: int) -> tuple[PayloadTensor, ...]:
    """Encode further rows, float32 of shape [K] or [].

    Raises
    ------
    NonFiniteUpdate, UnexpectedTensor
        As the codec raises them.
    """
    payload: list[PayloadTensor] = []
    for name, row in carried.items():
        own = FLOAT32 if row.dim() == 0 else codec
        encoded = own.encode(row.reshape(-1), key=key)
        payload += [_named(each, f"{name}.{each.header.name}") for each in encoded]
    return tuple(payload)


def expected_carried(rows: Iterable[CarriedRow], codec: Codec) -> tuple[TensorSpec, ...]:
    """Return the descriptions of the further rows' tensors in a valid message, in order."""
    return tuple(
        replace(spec, name=f"{row.name}.{spec.name}")
        for row in rows
        for spec in row.codec(codec).expected(row.numbers)
    )


def decode_carried(
    rows: Iterable[CarriedRow], payload: Sequence[PayloadTensor], codec: Codec
) -> dict[str, Tensor]:
    """Decode further rows, float32 of shape [K] or [].

    Raises
    ------
    UnexpectedTensor, NonFiniteUpdate
    """
    found: dict[str, Tensor] = {}
    start = 0
    for row in rows:
        own = row.codec(codec)
        end = start + len(own.expected(row.numbers))
        tensors = [_named(each, each.header.name.removeprefix(f"{row.name}.")) for each in payload[start:end]]
        decoded = own.decode(tensors, row.numbers)
        if not is_finite(decoded):
            raise NonFiniteUpdate(
                f"{row.name} holds NaN or an infinity",
                remedy="The sender's training has diverged; it should not send.",
            )
        found[row.name] = decoded if row.size is not None else torch.clone(decoded).reshape(())
        start = end
    return found


def _named(tensor: PayloadTensor, name: str) -> PayloadTensor:
    return replace(tensor, header=replace(tensor.header, name=name))
