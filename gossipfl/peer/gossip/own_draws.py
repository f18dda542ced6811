"""A peer's own random draws, functions of a purpose and a counter, so that records suffice to repeat them."""

from __future__ import annotations

from typing import Final

import torch

from gossipfl.codecs.draws import message_key, rekeyed, uniforms

__all__ = ["CLOCK", "RECEIPT", "OwnDraws"]

CLOCK, RECEIPT = 1, 2
"""Purposes: draws for different purposes are independent."""
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
        key = message_key(self._peer_id, incarnation=self._incarnation, sequence=counter)
        return float(uniforms(rekeyed(torch.tensor([key]), _FIRST_PURPOSE + purpose), 1)[0, 0])
