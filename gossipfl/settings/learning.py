"""Settings of what learns: local training, and what becomes of received models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["GossipSettings", "MergeSettings", "Schedule", "TrainingSettings"]

Schedule = Literal["constant", "inverse", "cosine"]


class TrainingSettings(BaseModel):
    """Local training: the optimiser, its schedule, and the batches."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float = Field(0.1, gt=0, description="step size at age 0")
    optimiser: Literal["sgd", "adamw"] = Field("sgd", description="as torch.optim.SGD or torch.optim.AdamW")
    schedule: Schedule = Field("constant", description="how the step size falls")
    clock: Literal["age", "step"] = Field(
        "age", description="what the schedule goes by: the age of the model, or the node's own training steps"
    )
    decay_age: int = Field(1000, gt=0, description="age at which 'inverse' has halved, and 'cosine' ended")
    warm_up: int = Field(0, ge=0, description="age until which the step size rises linearly from zero")
    final_fraction: float = Field(
        0.02, ge=0, le=1, description="share of the step size that is left at the end of 'cosine'"
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="heavy-ball momentum of sgd")
    nesterov: bool = Field(default=False, description="Nesterov's momentum, of sgd")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the first moment of adamw")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the second moment of adamw")
    epsilon: float = Field(1e-8, gt=0, description="ε of adamw")
    weight_decay: float = Field(
        0.0, ge=0, description="L2 penalty added to the gradient in sgd; decoupled from it in adamw"
    )
    clip_norm: float | None = Field(None, gt=0, description="largest Euclidean norm of a gradient")
    batch_size: int = Field(32, gt=0, description="samples a step; all a node has, if it has fewer")
    local_steps: int = Field(1, gt=0, description="training steps after a merge")
    seed: int = Field(0, ge=0, description="seed of the batches; a batch is a function of (seed, node, step)")

    @property
    def is_single_plain_step(self) -> bool:
        """Whether a node does one step of SGD without momentum at a time."""
        return self.optimiser == "sgd" and not self.momentum and self.local_steps == 1

    @model_validator(mode="after")
    def _suit_the_optimiser(self) -> TrainingSettings:
        """Refuse what would be without effect."""
        others = {"sgd": ("beta1", "beta2", "epsilon"), "adamw": ("momentum", "nesterov")}[self.optimiser]
        fields = type(self).model_fields
        given = [name for name in others if getattr(self, name) != fields[name].default]
        if given:
            raise ValueError(
                f"{', '.join(given)} would be without effect with optimiser = {self.optimiser!r}: leave it out"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0")
        return self


class MergeSettings(BaseModel):
    """How a received model and one's own become one in gossip learning."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    merge: Literal["RW", "MU", "UM"] = Field(
        "MU",
        description="RW: train the received model; MU: merge, then train; UM: train both, then merge",
    )
    weighting: Literal["age", "plain"] = Field(
        "age", description="weight of each model in a merge: its age, or one half"
    )
    merge_limit: int | None = Field(
        None,
        ge=0,
        description="largest difference of ages at which models are averaged; above it the older one is taken "
        "as it is; no limit if unset",
    )

    @model_validator(mode="after")
    def _limit_limits_something(self) -> MergeSettings:
        if self.merge == "RW" and self.merge_limit is not None:
            raise ValueError(
                "merge_limit is without effect where models are never merged (merge = 'RW'): leave it out, or "
                "choose MU or UM"
            )
        return self


class GossipSettings(MergeSettings):
    """What a peer that gossips does with the models it receives."""

    algorithm: Literal["gossip_learning", "ad_psgd"] = Field(
        "gossip_learning",
        description="gossip_learning: as merge, weighting and merge_limit say; ad_psgd: plain averages, and a "
        "step with each answer",
    )

    @field_validator("algorithm", mode="before")
    @classmethod
    def _only_what_is_sound_in_peers(cls, algorithm: object) -> object:
        if algorithm == "push_sum":
            raise ValueError(
                "push_sum runs in the simulator only: its mean is right only if no mass is ever lost or counted "
                "twice, and a peer that hears no acknowledgement, or is restored from a checkpoint, cannot know "
                "which of its shares arrived (docs/algorithms.md)"
            )
        return algorithm

    @model_validator(mode="after")
    def _averages_are_plain(self) -> GossipSettings:
        if self.algorithm == "ad_psgd":
            defaults = {name: field.default for name, field in MergeSettings.model_fields.items()}
            given = [name for name, default in defaults.items() if getattr(self, name) != default]
            if given:
                raise ValueError(
                    f"ad_psgd always takes the plain mean, so {', '.join(given)} would be without effect: leave "
                    "it out"
                )
        return self
