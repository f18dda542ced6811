"""Step sizes of training, from the age of a model or the steps of a node."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gossipfl.settings import Schedule, TrainingSettings

__all__ = ["RATE_SETTINGS", "Schedule", "TrainingSettings", "learning_rates"]

RATE_SETTINGS = ("learning_rate", "schedule", "decay_age", "decay_share", "warm_up", "final_fraction")
"""Settings on which `learning_rates` depends."""


def learning_rates(
    clock: Tensor, settings: TrainingSettings, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Step size of each node, from what its schedule goes by.

    ``constant``: η. ``inverse``: η / (1 + age / decay_age). ``cosine``: from η down to
    ``final_fraction`` · η along half a cosine that ends at ``decay_age`` (Loshchilov & Hutter 2017, Eq. 5,
    without restarts), and constant from there, so that learning never ends. ``wsd`` (warm-up, stable, decay: Hu et
    al., *MiniCPM*, arXiv 2404.06395, section 4): η, and along the last ``decay_share`` of ``decay_age`` a straight
    line down to ``final_fraction`` · η. During the first ``warm_up`` steps the result is multiplied by
    (clock + 1) / warm_up.

    Parameters
    ----------
    clock : Tensor
        Ages of the models, or steps of the nodes, as ``settings.clock`` says; shape ``[B]``, int64.
    settings : TrainingSettings
    dtype : torch.dtype
        Of the result; that of the rows it is for.

    Returns
    -------
    Tensor
        Shape ``[B]``, of ``dtype``.
    """
    counted = clock.to(torch.float64)
    progress = counted / settings.decay_age
    match settings.schedule:
        case "constant":
            factor = torch.ones_like(counted)
        case "inverse":
            factor = 1 / (1 + progress)
        case "cosine":
            falling = (1 + torch.cos(math.pi * progress.clamp(max=1))) / 2
            factor = settings.final_fraction + (1 - settings.final_fraction) * falling
        case "wsd":
            left = ((1 - progress) / settings.decay_share).clamp(0, 1)
            factor = settings.final_fraction + (1 - settings.final_fraction) * left
    if settings.warm_up:
        factor = factor * ((counted + 1) / settings.warm_up).clamp(max=1)
    return (settings.learning_rate * factor).to(dtype)
