"""Settings of private training: the table ``[training.privacy]``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gossipfl.settings.table import Table

__all__ = ["SamplePrivacySettings"]


class SamplePrivacySettings(Table):
    """Private training (DP-SGD): each sample's gradient is clipped, and their sum has Gaussian noise."""

    clip: float = Field(gt=0)
    """largest Euclidean norm of the gradient of one sample, C"""
    noise_multiplier: float = Field(gt=0)
    """standard deviation of the noise on the sum of a batch's gradients, in units of clip"""
    sampling: Literal["poisson", "cyclic"] = "poisson"
    """poisson: each sample is in a batch with probability batch_size / samples, whatever the others do; cyclic:
    the same batches in the same order again and again, which hides nobody by chance"""
    bands: int = Field(1, ge=1, le=64)
    """with cyclic batches: how many steps share noise, so that sums of steps have less; 1: each has its own"""
    secret: bool = True
    """whether peers draw batches and noise from the operating system's generator; false: from training.seed, as
    simulations do, so that a rehearsal can be replayed, and whoever knows the seed can take the noise off"""
    epsilon: float | None = Field(None, gt=0)
    """ε of a peer's privacy budget for each of its samples: it trains no more once its steps have spent it; no
    limit if unset"""
    delta: float = Field(1e-5, gt=0, lt=1)
    """δ of that budget"""

    @model_validator(mode="after")
    def _bands_need_order(self) -> SamplePrivacySettings:
        if self.bands > 1 and self.sampling != "cyclic":
            raise ValueError(
                "bands with sampling = 'poisson': noise that steps share is accounted for where each sample comes "
                "again after equally many; set sampling = 'cyclic', or leave bands out"
            )
        return self

    @model_validator(mode="after")
    def _budgets_are_secret(self) -> SamplePrivacySettings:
        if self.epsilon is not None and not self.secret:
            raise ValueError(
                "epsilon with secret = false: noise that can be drawn again from a seed protects nothing; leave "
                "out one of them"
            )
        return self
