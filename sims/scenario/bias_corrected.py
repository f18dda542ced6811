"""Sections of the round-based algorithms that heterogeneous data bias less than D-PSGD, or not at all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.algorithms.rounds.d_squared import DSquared
from gossipfl.algorithms.rounds.exact_diffusion import ExactDiffusion
from gossipfl.algorithms.rounds.gradient_tracking import GradientTracking, TrackingOrder
from gossipfl.algorithms.rounds.quasi_global_momentum import QGDSGDm
from sims.scenario.round_based import RoundSection

__all__ = [
    "BiasCorrectedSection",
    "DSquaredSection",
    "ExactDiffusionSection",
    "GradientTrackingSection",
    "QGDSGDmSection",
]


class ExactDiffusionSection(RoundSection):
    """Adapt, correct by what the last combination changed, combine (Yuan et al. 2019)."""

    name: Literal["exact_diffusion"]

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return ExactDiffusion()


class DSquaredSection(RoundSection):
    """Exact diffusion with W itself, whose eigenvalues must be above −1/3 (Tang et al. 2018)."""

    name: Literal["d_squared"]

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return DSquared()


class GradientTrackingSection(RoundSection):
    """Models go along estimates of the mean gradient, on which nodes gossip too (Nedić et al. 2017)."""

    name: Literal["gradient_tracking"]
    order: TrackingOrder = Field(
        "adapt-then-combine",
        description="trackers and models are adapted before they are combined, or only models (semi-), or none",
    )

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return GradientTracking(self.order)


class QGDSGDmSection(RoundSection):
    """Momentum along the path of the mixed models (Lin et al. 2021)."""

    name: Literal["qg_dsgdm"]
    momentum: float = Field(0.9, ge=0, lt=1, description="β")
    smoothing: float | None = Field(None, ge=0, lt=1, description="μ; as momentum unless given")
    nesterov: bool = Field(False, description="QG-DSGDm-N")

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return QGDSGDm(momentum=self.momentum, smoothing=self.smoothing, nesterov=self.nesterov)


BiasCorrectedSection = Annotated[
    ExactDiffusionSection | DSquaredSection | GradientTrackingSection | QGDSGDmSection,
    Field(discriminator="name"),
]
