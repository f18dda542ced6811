"""Small integers, packed at a fixed number of bits each."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.errors import UnexpectedTensor

__all__ = ["pack", "packed_bytes", "unpack", "width_of"]

_WORD_BITS = 64  # so many numbers of w bits fill w words
_NUMBERS_AT_A_TIME = 2**18  # a multiple of 64, so blocks end at whole words


def width_of(largest: int) -> int:
    """Bits that every integer from 0 to ``largest`` fits into."""
    return largest.bit_length()


def packed_bytes(count: int, width: int) -> int:
    """Bytes of ``count`` integers at ``width`` bits."""
    return (count * width + 7) // 8


def pack(numbers: Tensor, width: int) -> Tensor:
    """Pack integers from 0 to 2**width − 1, lowest bit first, without gaps.

    Parameters
    ----------
    numbers : Tensor
        Integers, shape ``[count]``.
    width : int
        At most 31.

    Returns
    -------
    Tensor
        Uint8, shape ``[packed_bytes(count, width)]``; bits after the last are zero.
    """
    values = numbers.cpu().numpy()
    parts = [
        _pack_block(values[i : i + _NUMBERS_AT_A_TIME], width)
        for i in range(0, len(values), _NUMBERS_AT_A_TIME)
    ]
    return torch.from_numpy(np.concatenate([np.empty(0, dtype=np.uint8), *parts]))


def unpack(packed: Tensor, count: int, width: int) -> Tensor:
    """Read ``count`` integers back, int32 ``[count]``.

    Raises
    ------
    UnexpectedTensor
        A bit after the last is not zero.
    """
    data = packed.cpu().numpy()
    used = count * width
    if used % 8 and data[-1] >> (used % 8):
        raise UnexpectedTensor("a bit after the last number is not zero")
    numbers = np.empty(count, dtype=np.int32)
    for first in range(0, count, _NUMBERS_AT_A_TIME):
        block = numbers[first : first + _NUMBERS_AT_A_TIME]
        _unpack_block(data[first * width // 8 :], width, block)
    return torch.from_numpy(numbers)


def _pack_block(values: NDArray[np.integer], width: int) -> NDArray[np.uint8]:
    """Put numbers into words, the k-th of every 64 in one go."""
    if not width:
        return np.empty(0, dtype=np.uint8)
    padded = np.zeros((-(-len(values) // _WORD_BITS), _WORD_BITS), dtype=np.uint64)
    padded.reshape(-1)[: len(values)] = values
    lanes = np.ascontiguousarray(padded.T)
    words = np.zeros((width, lanes.shape[1]), dtype=np.uint64)
    for lane, numbers in enumerate(lanes):
        word, shift = divmod(lane * width, _WORD_BITS)
        words[word] |= numbers << np.uint64(shift)
        if shift + width > _WORD_BITS:
            words[word + 1] |= numbers >> np.uint64(_WORD_BITS - shift)
    return words.T.astype("<u8", order="C").view(np.uint8).reshape(-1)[: packed_bytes(len(values), width)]


def _unpack_block(data: NDArray[np.uint8], width: int, into: NDArray[np.int32]) -> None:
    if not width:
        into[:] = 0
        return
    count = -(-len(into) // _WORD_BITS)
    padded = np.zeros(count * width * 8, dtype=np.uint8)
    used = packed_bytes(len(into), width)
    padded[:used] = data[:used]
    words = np.ascontiguousarray(padded.view("<u8").reshape(count, width).T)
    lanes = np.empty((_WORD_BITS, count), dtype=np.int32)
    mask = np.uint64(2**width - 1)
    for lane in range(_WORD_BITS):
        word, shift = divmod(lane * width, _WORD_BITS)
        numbers = words[word] >> np.uint64(shift)
        if shift + width > _WORD_BITS:
            numbers |= words[word + 1] << np.uint64(_WORD_BITS - shift)
        lanes[lane] = numbers & mask
    into[:] = lanes.T.reshape(-1)[: len(into)]
