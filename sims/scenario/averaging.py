"""Sections of round-based algorithms that average, among neighbours, in cliques, along trees or by a server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.algorithms.rounds.d_cliques import DCliques
from gossipfl.algorithms.rounds.dfedavg import DFedAvg
from gossipfl.algorithms.rounds.epidemic_learning import EpidemicLearning
from gossipfl.algorithms.rounds.fedavg import FedAvg
from gossipfl.algorithms.rounds.pooled_sgd import PooledSGD
from gossipfl.algorithms.rounds.relay_sgd import RelaySGD
from gossipfl.algorithms.rounds.stochastic_gradient_push import StochasticGradientPush
from sims.scenario.round_based import RoundSection
from topology.sequences import MixingSequence

__all__ = [
    "AveragingSection",
    "DCliquesSection",
    "DFedAvgSection",
    "EpidemicLearningSection",
    "FedAvgSection",
    "PooledSGDSection",
    "RelaySGDSection",
    "StochasticGradientPushSection",
]

_EPOCHS = "passes over a node's own samples a round; 0: training.local_steps steps instead"
_WEIGHTING = "every node counts the same, or as much as it has samples"


class _OwnWeightsSection(RoundSection):
    """Of an algorithm whose means are its own: mixing weights would be without effect."""

    @model_validator(mode="after")
    def _no_weights(self) -> _OwnWeightsSection:
        if self.weights is not None:
            raise ValueError(
                f"{self.name} weighs by itself: weights = {self.weights!r} would be without effect"
            )
        return self


class EpidemicLearningSection(_OwnWeightsSection):
    """D-PSGD over a random graph that is drawn anew every round (de Vos et al. 2023); takes no topology."""

    name: Literal["epidemic_learning"]
    degree: int = Field(ge=1, description="models each node sends a round; the paper has about log₂ n")
    variant: Literal["oracle", "local"] = Field(
        "oracle", description="oracle: a regular graph; local: each node chooses receivers alone"
    )

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return EpidemicLearning(degree=self.degree, variant=self.variant)

    def sequence(self, nodes: int, *, seed: int) -> MixingSequence:
        """Give the random matrices."""
        return EpidemicLearning(degree=self.degree, variant=self.variant).sequence(nodes, seed=seed)


class DFedAvgSection(RoundSection):
    """Local epochs, then an average with the neighbours; DFedAvgM with momentum (Sun, Li & Wang 2023)."""

    name: Literal["dfedavg"]
    epochs: int = Field(1, ge=0, description=_EPOCHS)

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return DFedAvg(epochs=self.epochs or None)


class StochasticGradientPushSection(RoundSection):
    """D-PSGD for directed links, by push-sum (Assran et al. 2019)."""

    name: Literal["sgp"]

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return StochasticGradientPush()


class RelaySGDSection(_OwnWeightsSection):
    """Exact uniform means along a tree, late by the distance (Vogels et al. 2021)."""

    name: Literal["relay_sgd"]

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return RelaySGD()


class DCliquesSection(RoundSection):
    """Gradients averaged within cliques, models with all neighbours (Bellet et al. 2022)."""

    name: Literal["d_cliques"]

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return DCliques()


class FedAvgSection(_OwnWeightsSection):
    """A server averages what some nodes trained (McMahan et al. 2017); takes no topology."""

    name: Literal["fedavg"]
    fraction: float = Field(1.0, gt=0, le=1, description="C: share of the nodes that train in a round")
    epochs: int = Field(1, ge=0, description=_EPOCHS)
    weighting: Literal["nodes", "samples"] = Field("samples", description=_WEIGHTING)

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return FedAvg(fraction=self.fraction, epochs=self.epochs or None, weighting=self.weighting)


class PooledSGDSection(_OwnWeightsSection):
    """One model and everybody's gradients: what gossip is measured against; takes no topology."""

    name: Literal["pooled_sgd"]
    weighting: Literal["nodes", "samples"] = Field("nodes", description=_WEIGHTING)

    def build(self) -> RoundAlgorithm:
        """Make the algorithm."""
        return PooledSGD(weighting=self.weighting)


AveragingSection = Annotated[
    EpidemicLearningSection
    | DFedAvgSection
    | StochasticGradientPushSection
    | RelaySGDSection
    | DCliquesSection
    | FedAvgSection
    | PooledSGDSection,
    Field(discriminator="name"),
]
