"""The algorithm section of a scenario where nodes act on their clocks and on messages, and never wait."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gossipfl.algorithms import ADPSGD, Flow, GossipLearning, MessageAlgorithm, PushSum, Sharing
from gossipfl.settings import MergeSettings
from gossipfl.settings.codec_names import parse_model_codec_name
from sims.scenario.network import Section

__all__ = [
    "ADPSGDSection",
    "FlowSection",
    "GossipLearningSection",
    "MessageDrivenSection",
    "PushSumSection",
    "SharingSection",
]


def _keeps_models(name: str | None) -> str | None:
    if name is not None:
        parse_model_codec_name(name)
    return name


ModelCodec = Annotated[
    str | None,
    AfterValidator(_keeps_models),
    Field(
        description="how models are sent: bfloat16, float16, int8[:BUCKET] or qsgd:LEVELS[:BUCKET]; as float32 if "
        "unset"
    ),
]


class FlowSection(Section):
    """When messages are sent (Danner & Jelasity 2018): by the clock, or by earned tokens."""

    kind: Literal["proactive", "simple", "generalized", "randomized"] = Field(
        "proactive",
        description="proactive: one message a period; the others bank tokens and answer messages with messages",
    )
    capacity: int = Field(20, ge=0, description="C: tokens a node can hold; with all, it sends by the clock")
    reserve: int = Field(10, ge=1, description="A: how many tokens a node keeps back when it answers")

    @model_validator(mode="after")
    def _reserve_within_capacity(self) -> FlowSection:
        if self.kind in ("generalized", "randomized") and self.reserve > self.capacity:
            raise ValueError(f"reserve ({self.reserve}) must not be above capacity ({self.capacity})")
        return self


class SharingSection(Section):
    """How much of a model a message carries (Hegedűs, Danner & Jelasity 2021, Section 4)."""

    kind: Literal["whole", "partitioned", "subsampled"] = "whole"
    parts: int = Field(
        10, ge=2, description="partitioned: one of so many fixed parts; subsampled: so many-th of the numbers"
    )


class GossipLearningSection(MergeSettings):
    """Models walk, merge and are trained where they arrive."""

    name: Literal["gossip_learning"]
    exchange: Literal["push", "pull", "push-pull"] = "push"
    flow: FlowSection = FlowSection()
    sharing: SharingSection = SharingSection()
    codec: ModelCodec = None

    def build(self) -> MessageAlgorithm:
        """Make the algorithm."""
        merging = {name: getattr(self, name) for name in ("merge", "weighting", "merge_limit")}
        return GossipLearning(
            **merging,
            exchange=self.exchange,
            flow=Flow(**self.flow.model_dump()),
            sharing=Sharing(**self.sharing.model_dump()),
            codec=self.codec,
        )

    @model_validator(mode="after")
    def _whole_models_are_encoded(self) -> GossipLearningSection:
        if self.codec is not None and self.sharing.kind != "whole":
            raise ValueError("codec is for whole models: leave it out, or leave out sharing")
        return self


class ADPSGDSection(Section):
    """Average with a random neighbour, then step along a gradient begun before (Lian et al. 2018)."""

    name: Literal["ad_psgd"]
    codec: ModelCodec = None

    def build(self) -> MessageAlgorithm:
        """Make the algorithm."""
        return ADPSGD(codec=self.codec)


class PushSumSection(Section):
    """Half of a sum and of its weight go to a neighbour (Kempe et al. 2003; Assran et al. 2019)."""

    name: Literal["push_sum"]
    steps_of: Literal["sum", "model"] = Field(
        "sum",
        description="what a training step is a step of: the sum, as in the paper, which moves a model of small "
        "weight far; or the model",
    )

    def build(self) -> MessageAlgorithm:
        """Make the algorithm."""
        return PushSum(steps_of=self.steps_of)


MessageDrivenSection = GossipLearningSection | ADPSGDSection | PushSumSection
