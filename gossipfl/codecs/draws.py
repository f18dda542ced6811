"""Random numbers as functions of a key alone, so that everyone who knows the key draws the same.

SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) used as a counter:
integers only, so every platform and device draws the same.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

__all__ = [
    "common_key",
    "exchange_keys",
    "message_key",
    "normals",
    "normals_from",
    "receipt_keys",
    "rekeyed",
    "scores",
    "uniforms",
]

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST_FACTOR = 0xBF58476D1CE4E5B9 - 2**64
_SECOND_FACTOR = 0x94D049BB133111EB - 2**64
_LOWER_HALF = 2**32 - 1
_NOBODY = 2**62 - 1  # no node's number, nor that of a link end
_WORDS_AT_A_TIME = 2**17  # within a core's cache


def message_key(sender: str, *, incarnation: int, sequence: int) -> int:
    """Give the key of a peer's message: another one for every message there ever is.

    Parameters
    ----------
    sender : str
        Peer id.
    incarnation, sequence : int
        As in the message's header.

    Returns
    -------
    int
        From −2**63 to 2**63 − 1.
    """
    digest = hashlib.sha256(f"{sender} {incarnation} {sequence}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def exchange_keys(numbers: Tensor, *, seed: int, round_number: int, exchange: int = 0) -> Tensor:
    """Return the keys of the rows that nodes send in an exchange of a round.

    Parameters
    ----------
    numbers : Tensor
        Numbers of the senders, int64 ``[B]``.
    seed : int
    round_number : int
    exchange : int
        Which exchange of the round.

    Returns
    -------
    Tensor
        Int64 ``[B]``.
    """
    key = torch.full_like(numbers, _signed(seed)).add_(_GOLDEN)
    for counter in (round_number, exchange):
        key = _mixed(key).bitwise_xor_(torch.full_like(numbers, _signed(counter)))
    return _mixed(_mixed(key).bitwise_xor_(numbers))


def common_key(*, seed: int, round_number: int, exchange: int = 0) -> int:
    """Give the key that all nodes of an exchange of a round share, another one than any node's own."""
    nobody = torch.tensor([_NOBODY])
    return int(exchange_keys(nobody, seed=seed, round_number=round_number, exchange=exchange)[0])


def receipt_keys(numbers: Tensor, receivers: Tensor) -> Tensor:
    """Give the keys of messages in a simulation.

    Parameters
    ----------
    numbers : Tensor
        Drawn for each message, and shared by a question and its answer, int64 ``[B]``.
    receivers : Tensor
        Numbers of the nodes they arrive at, int64 ``[B]``.

    Returns
    -------
    Tensor
        Int64 ``[B]``.
    """
    return _mixed(_mixed(numbers).bitwise_xor_(receivers))


def rekeyed(keys: Tensor, purpose: int) -> Tensor:
    """Keys for another purpose, int64 ``[B]``: draws with them are independent of draws with the first."""
    return _mixed(_mixed(keys).bitwise_xor_(torch.full_like(keys, purpose)))


def scores(keys: Tensor, count: int) -> Tensor:
    """Draw ``count`` numbers for each key, int64 ``[B, count]``, uniform over all 64-bit integers."""
    first, width = _mixed(keys)[:, None], max(1, _WORDS_AT_A_TIME // max(1, len(keys)))
    if count <= width or keys.device.type != "cpu":
        return _mixed(first + _counters(1, count, like=keys))
    words = keys.new_empty(len(keys), count)
    for start in range(0, count, width):
        end = min(start + width, count)
        words[:, start:end] = _mixed(first + _counters(start + 1, end, like=keys))
    return words


def uniforms(keys: Tensor, count: int) -> Tensor:
    """Draw ``count`` multiples of 2**-24 for each key, uniform in [0, 1): float32 ``[B, count]``."""
    words = scores(keys, -(-count // 2))  # each word gives two
    halves = torch.cat([words & _LOWER_HALF, words.bitwise_right_shift_(32).bitwise_and_(_LOWER_HALF)], dim=1)
    return halves.bitwise_right_shift_(8).to(torch.float32).mul_(2.0**-24)[:, :count]


def normals(keys: Tensor, count: int) -> Tensor:
    """Draw ``count`` standard normals for each key, float64 ``[B, count]``."""
    return normals_from(scores(keys, 2 * -(-count // 2)), count)


def normals_from(words: Tensor, count: int) -> Tensor:
    """Make standard normals of uniform 64-bit words, two of two (Box & Muller 1958).

    Parameters
    ----------
    words : Tensor
        Int64 ``[B, count]``, with one more a row where ``count`` is odd.
    count : int

    Returns
    -------
    Tensor
        Float64 ``[B, count]``.
    """
    unit = words.bitwise_right_shift(11).bitwise_and_(2**53 - 1).to(torch.float64).mul_(2.0**-53)
    first, second = unit.chunk(2, dim=1) if count else (unit, unit)
    radii = first.neg().log1p_().mul_(-2).sqrt_()  # of 1 − u, which is never zero
    angles = second * (2 * math.pi)
    return torch.cat([radii * angles.cos(), radii * angles.sin()], dim=1)[:, :count]


def _counters(first: int, last: int, *, like: Tensor) -> Tensor:
    return torch.arange(first, last + 1, dtype=torch.int64, device=like.device).mul_(_GOLDEN)


def _mixed(words: Tensor) -> Tensor:
    """Finaliser of SplitMix64: a bijection of 64-bit words that avalanches."""
    mixed = _shifted_xor(words, 30).mul_(_FIRST_FACTOR)
    mixed = _shifted_xor(mixed, 27).mul_(_SECOND_FACTOR)
    return _shifted_xor(mixed, 31)


def _shifted_xor(words: Tensor, places: int) -> Tensor:
    shifted = (words >> places).bitwise_and_(2 ** (64 - places) - 1)  # int64 would shift its sign in
    return shifted.bitwise_xor_(words)


def _signed(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63
