"""The search for the factor of an attack that does a receiver most harm.

As attackers choose it in Allouah et al., "Fixing by mixing", AISTATS 2023, and Shejwalkar & Houmansadr, NDSS 2021:
the one whose outcome is farthest from what the receiver would have had with all neighbours honest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gossipfl.attacks.base import Receivers

__all__ = ["most_harmful"]

_POINTS = 9
_REFINEMENTS = 2


def most_harmful(receivers: Receivers, *, start: Tensor, step: Tensor, at_most: float) -> Tensor:
    """Rows ``start + factor · step`` for the most harmful factor from 0 to ``at_most`` of each receiver.

    Factors are tried evenly spaced, and then twice more around the best.

    Parameters
    ----------
    receivers : Receivers
    start, step : Tensor
        ``[b, D]``.
    at_most : float

    Returns
    -------
    Tensor
        ``[b, 1, D]``.
    """
    honest = receivers.outcome(receivers.around.rows)
    low = torch.zeros_like(start[:, :1])
    high = torch.full_like(low, at_most)
    best, harm = low, torch.full_like(low, -1.0)
    for _ in range(1 + _REFINEMENTS):
        for place in torch.linspace(0, 1, _POINTS).tolist():
            factor = low + place * (high - low)
            outcome = receivers.outcome(receivers.told((start + factor * step)[:, None]))
            distance = (outcome - honest).norm(dim=1, keepdim=True)
            better = distance > harm
            best, harm = torch.where(better, factor, best), torch.where(better, distance, harm)
        reach = (high - low) / (_POINTS - 1)
        low, high = (best - reach).clamp(min=0), (best + reach).clamp(max=at_most)
    return (start + best * step)[:, None]
