"""Integers modulo a power of two: what Moniqua sends of numbers of which receivers know others close by.

Lu & De Sa, "Moniqua: Modulo quantized communication in decentralized SGD", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.bits import pack, packed_bytes, unpack
from gossipfl.codecs.payload import PayloadTensor, TensorSpec, payload_of, tensor_of
from gossipfl.codecs.refusal import require_finite
from gossipfl.codecs.row_codec import RowCodec
from gossipfl.errors import SettingError

__all__ = ["Residues", "wrapped"]

_MOST_BITS = 16


def wrapped(numbers: Tensor, modulus: int) -> Tensor:
    """Numbers modulo ``modulus``, between −modulus/2, included, and modulus/2, excluded."""
    return torch.remainder(numbers + modulus / 2, modulus) - modulus / 2


@dataclass(frozen=True, slots=True)
class Residues(RowCodec):
    """``Q(x) = round(x) mod 2^b``, from −2^(b−1) to 2^(b−1) − 1.

    It approximates no number. Whoever knows a y with |x − y| < (2^b − 1)/2 has ``y + wrapped(Q(x) − y, 2^b)``,
    which is round(x). It is made by algorithms whose receivers do, and has no name in settings.

    The payload is ``residues``, b bits a number.

    Parameters
    ----------
    bits : int
        b, from 1 to 16.
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= _MOST_BITS:
            raise SettingError(
                "the number of bits is out of range", expected=f"1 to {_MOST_BITS}", got=self.bits
            )

    @property
    def name(self) -> str:
        """``residues:BITS``."""
        return f"residues:{self.bits}"

    @property
    def modulus(self) -> int:
        """2^b."""
        return 1 << self.bits

    @property
    def unbiased(self) -> bool:
        """It is not."""
        return False

    def contraction(self, size: int) -> float | None:
        """None: by itself a residue is not near its number."""
        del size
        return None

    def payload_bytes(self, size: int) -> int:
        """Bytes of the residues of a row of ``size`` numbers."""
        return packed_bytes(size, self.bits)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        return (TensorSpec("residues", "uint8", (self.payload_bytes(size),)),)

    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        del keys
        return wrapped(rows.round(), self.modulus)

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        require_finite(row)
        symbols = wrapped(row.round(), self.modulus) + self.modulus // 2
        return (payload_of("residues", pack(symbols.to(torch.int32), self.bits)),)

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        symbols = unpack(tensor_of(tensors[0]), size, self.bits)
        return symbols.to(torch.float32) - self.modulus // 2
