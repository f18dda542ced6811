"""Sections of the round-based algorithms that make up for what compression leaves out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.algorithms.rounds.choco import ChocoSGD
from gossipfl.algorithms.rounds.deep_squeeze import DeepSqueeze
from gossipfl.algorithms.rounds.power_gossip import PowerGossip
from gossipfl.rows import Layout
from sims.scenario.round_based import RoundSection

__all__ = ["ChocoSection", "CompressedSection", "DeepSqueezeSection", "PowerGossipSection"]

_STEP_SIZE = "γ: how far a node moves towards what its neighbours sent; the coarser the codec, the smaller"


class ChocoSection(RoundSection):
    """Compressed differences to public copies that neighbours keep (Koloskova et al. 2019); CHOCO-SGD."""

    name: Literal["choco"]
    consensus_step_size: float = Field(1.0, gt=0, le=1, description=_STEP_SIZE)
    restart_every: int | None = Field(
        None, ge=1, description="rounds after which public copies are zero again; never if unset"
    )

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return ChocoSGD(
            compressor=self.compressor(),
            consensus_step_size=self.consensus_step_size,
            restart_every=self.restart_every,
        )


class DeepSqueezeSection(RoundSection):
    """Compressed models, and what compression left out is sent later (Tang et al. 2019)."""

    name: Literal["deep_squeeze"]
    consensus_step_size: float = Field(1.0, gt=0, le=1, description=_STEP_SIZE)

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return DeepSqueeze(compressor=self.compressor(), consensus_step_size=self.consensus_step_size)


class PowerGossipSection(RoundSection):
    """Low-rank approximations of the difference over each link (Vogels et al. 2020)."""

    name: Literal["power_gossip"]
    rank: int = Field(1, ge=1, description="rank of the approximation of each matrix of parameters")
    iterations: int = Field(2, ge=1, description="power iterations, and so messages over each link, a round")

    def build(self) -> RoundAlgorithm:
        """Make the algorithm for models that are one matrix."""
        return PowerGossip(rank=self.rank, iterations=self.iterations)

    def build_for(self, layout: Layout) -> RoundAlgorithm:
        """Make the algorithm for the matrices of a model."""
        return PowerGossip.of(layout, rank=self.rank, iterations=self.iterations)


CompressedSection = Annotated[
    ChocoSection | DeepSqueezeSection | PowerGossipSection, Field(discriminator="name")
]
