"""A peer's own random draws, functions of a purpose and a counter, so that records suffice to repeat them."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from gossipfl.codecs.draws import message_key, rekeyed, scores, uniforms

__all__ = ["CLOCK", "PART", "RECEIPT", "OwnDraws"]

CLOCK, RECEIPT, PART = 1, 2, 3
"""Purposes: draws for different purposes are independent."""
_LOWER_HALF: Final = 2**32 - 1
_FIRST_PURPOSE: Final = 1 << 32  # apart from those of codecs and of transformations


class OwnDraws:
    """Draws of one start of a peer.

    Parameters
    ----------
    peer_id : str
    incarnation : int
        Number of the start.
    """

    def __init__(self, peer_id: str, incarnation: int) -> None:
        self._peer_id, self._incarnation = peer_id, incarnation

    def uniform(self, purpose: int, counter: int) -> float:
        """Draw a number uniformly from 0 to 1, below 1."""
        return float(uniforms(self._key(purpose, counter), 1)[0, 0])

    def below(self, most: int, purpose: int, counter: int) -> int:
        """Draw a whole number uniformly from 0 to below ``most``, which is at most 2**31."""
        word = int(scores(self._key(purpose, counter), 1)[0, 0]) & _LOWER_HALF
        return word * most >> 32

    def _key(self, purpose: int, counter: int) -> Tensor:
        key = message_key(self._peer_id, incarnation=self._incarnation, sequence=counter)
        return rekeyed(torch.tensor([key]), _FIRST_PURPOSE + purpose)
