"""Sketches of rows: short random projections with a common key, whose distances estimate those of the rows."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from gossipfl.codecs.draws import rekeyed, scores

__all__ = ["sketches"]

_MOST_PLACES: Final = 2**18
_PLACES, _SIGNS = 1, 2


def sketches(rows: Tensor, shared_size: int, *, key: int, width: int) -> Tensor:
    """Project the shared parts of rows to ``width`` numbers each (a count sketch).

    Every place of the row is added, with a random sign, to one random number of the sketch. For rows x and y with
    the same key, the expectation of the squared distance of their sketches is ``‖x − y‖²``, and its standard
    deviation at most ``√(2 / width) ‖x − y‖²``. Of rows with more than 2¹⁸ shared places, as many random ones are
    taken and scaled up, so that the cost is bounded.

    Parameters
    ----------
    rows : Tensor
        Shape ``[B, D]``.
    shared_size : int
        Length of the shared part.
    key : int
        From −2**63 to 2**63 − 1; sketches of different keys cannot be compared.

    Returns
    -------
    Tensor
        Float32 ``[B, width]``.

    References
    ----------
    Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", ICALP 2002; Weinberger, Dasgupta,
    Langford, Smola and Attenberg, "Feature hashing for large scale multitask learning", ICML 2009.
    """
    keys, shared = torch.tensor([key], device=rows.device), rows[:, :shared_size]
    if shared_size > _MOST_PLACES:
        places = _below(scores(rekeyed(keys, _PLACES), _MOST_PLACES)[0], shared_size)
        shared = shared.index_select(1, places) * math.sqrt(shared_size / _MOST_PLACES)
    words = scores(rekeyed(keys, _SIGNS), shared.shape[1])[0]
    signs = (words & 1).mul_(2).sub_(1).to(torch.float64)
    signed = shared.to(torch.float64) * signs
    made = signed.new_zeros(len(rows), width).index_add_(1, _below(words >> 1, width), signed)
    return made.to(torch.float32)


def _below(words: Tensor, bound: int) -> Tensor:
    return (words & (2**62 - 1)) % bound
