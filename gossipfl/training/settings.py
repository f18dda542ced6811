"""Settings of local training, and the step size they imply."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

__all__ = ["Schedule", "TrainingSettings", "learning_rates"]

Schedule = Literal["constant", "inverse", "cosine"]


class TrainingSettings(BaseModel):
    """How a node trains on its own data: stochastic gradient descent whose step size falls with age."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(0.1, gt=0, description="step size at age 0")
    schedule: Schedule = Field("constant", description="how the step size falls with the age of the model")
    decay_age: int = Field(1000, gt=0, description="age at which 'inverse' has halved, and 'cosine' ended")
    final_fraction: float = Field(
        0.02, ge=0, le=1, description="share of the step size that is left at the end of 'cosine'"
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="heavy-ball momentum")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient")
    clip_norm: float | None = Field(None, gt=0, description="largest Euclidean norm of a gradient")
    batch_size: int = Field(32, gt=0, description="samples a step; all a node has, if it has fewer")
    local_steps: int = Field(1, gt=0, description="training steps after a merge")
    seed: int = Field(0, ge=0, description="seed of the batches; a batch is a function of (seed, node, step)")


def learning_rates(ages: Tensor, settings: TrainingSettings) -> Tensor:
    """Step size of each node from the age of its model.

    ``constant``: η. ``inverse``: η / (1 + age / decay_age). ``cosine``: from η down to
    ``final_fraction`` · η along half a cosine that ends at ``decay_age`` (Loshchilov & Hutter 2017, Eq. 5,
    without restarts), and constant from there, so that learning never ends.

    Parameters
    ----------
    ages : Tensor
        Shape ``[B]``, int64.

    Returns
    -------
    Tensor
        Shape ``[B]``, float32.
    """
    progress = ages.to(torch.float64) / settings.decay_age
    match settings.schedule:
        case "constant":
            factor = torch.ones_like(progress)
        case "inverse":
            factor = 1 / (1 + progress)
        case "cosine":
            falling = (1 + torch.cos(math.pi * progress.clamp(max=1))) / 2
            factor = settings.final_fraction + (1 - settings.final_fraction) * falling
    return (settings.learning_rate * factor).to(torch.float32)
