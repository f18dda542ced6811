"""Settings of learning: local training, and gossip."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, model_validator

from gossipfl.settings.sample_privacy import SamplePrivacySettings
from gossipfl.settings.table import Table

__all__ = ["USUAL_PARAMETERS", "GossipSettings", "Schedule", "TrainingSettings"]

Schedule = Literal["constant", "inverse", "cosine", "wsd"]


class TrainingSettings(Table):
    """Local training: the optimiser, its schedule, and the batches."""

    learning_rate: float = Field(0.1, gt=0)
    """step size at age 0"""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """as torch.optim.SGD or torch.optim.AdamW"""
    schedule: Schedule = "constant"
    """how the step size falls"""
    clock: Literal["age", "step"] = "age"
    """argument of the schedule: the age of the model, or the node's own training steps"""
    decay_age: int = Field(1000, gt=0)
    """age at which 'inverse' has halved, and 'cosine' and 'wsd' ended"""
    decay_share: float = Field(0.2, gt=0, le=1)
    """last share of decay_age in which the step size of 'wsd' falls"""
    warm_up: int = Field(0, ge=0)
    """age until which the step size rises linearly from zero"""
    final_fraction: float = Field(0.02, ge=0, le=1)
    """share of the step size that is left at the end of 'cosine' and 'wsd'"""
    momentum: float = Field(0.0, ge=0, lt=1)
    """heavy-ball momentum of sgd"""
    nesterov: bool = False
    """Nesterov's momentum, of sgd"""
    beta1: float = Field(0.9, ge=0, lt=1)
    """decay of the first moment of adamw"""
    beta2: float = Field(0.999, ge=0, lt=1)
    """decay of the second moment of adamw"""
    epsilon: float = Field(1e-8, gt=0)
    """ε of adamw"""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty added to the gradient in sgd; decoupled from it in adamw"""
    clip_norm: float | None = Field(None, gt=0)
    """largest Euclidean norm of a gradient"""
    batch_size: int = Field(32, gt=0)
    """samples a step; all a node has, if it has fewer"""
    local_steps: int = Field(1, gt=0)
    """training steps after a merge"""
    seed: int = Field(0, ge=0)
    """seed of the batches; a batch is a function of (seed, node, step)"""
    privacy: SamplePrivacySettings | None = None
    """private training, a table [training.privacy]: clip and noise_multiplier; none if unset"""

    @property
    def is_single_plain_step(self) -> bool:
        """Whether nodes do single steps of SGD without momentum."""
        return self.optimiser == "sgd" and not self.momentum and self.local_steps == 1

    @model_validator(mode="after")
    def _suit_the_optimiser(self) -> TrainingSettings:
        """Refuse settings without effect."""
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

    @model_validator(mode="after")
    def _clip_once(self) -> TrainingSettings:
        if self.privacy is not None and self.clip_norm is not None:
            raise ValueError(
                "clip_norm beside [training.privacy], whose clip is of each sample's gradient: leave clip_norm out"
            )
        return self


#: Of ``gossip_learning``. Older files hold them for every algorithm, where they mean nothing.
USUAL_PARAMETERS: Final = {"merge": "MU", "weighting": "age"}


class GossipSettings(Table):
    """Learning from messages: an algorithm, whose parameters are the other keys."""

    model_config = ConfigDict(extra="allow")

    algorithm: str = "gossip_learning"
    """message-driven algorithm (see gossipfl algorithms list), or package.module:Class"""

    @property
    def parameters(self) -> dict[str, Any]:
        """The algorithm's parameters that were given."""
        return dict(self.model_extra or {})

    @property
    def is_as_declared(self) -> bool:
        """Whether it is the usual algorithm with its defaults, which nothing need check."""
        given = {key: value for key, value in self.parameters.items() if value is not None}
        usual = self.algorithm == type(self).model_fields["algorithm"].default
        return usual and given.items() <= USUAL_PARAMETERS.items()
