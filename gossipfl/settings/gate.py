"""Settings of the gate before every merge."""

from __future__ import annotations

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["GateSettings"]


class GateSettings(Table):
    """Limits on received models; distances and norms are relative to those of the neighbours' models."""

    enabled: bool = Field(True, description="false: merge whatever arrives unchanged")
    radius: float = Field(
        3.0,
        gt=0,
        description="distance beyond which a model is clipped, in medians of the neighbours' distances",
    )
    smallest_radius: float = Field(
        0.001,
        ge=0,
        description="distance that is never clipped, as a share of the norm of the peer's own model",
    )
    angle: float = Field(
        0.8,
        gt=0,
        le=2,
        description="1 − cos of the angle to the peer's own model above which a model is refused",
    )
    angle_medians: float = Field(
        2.0, gt=0, description="the same in medians of the neighbours' angles; the larger bound counts"
    )
    norm: float = Field(
        4.0,
        gt=1,
        description="factor from the neighbours' median norm beyond which a model is refused",
    )
    loss: float = Field(
        1.25,
        gt=0,
        description="largest loss of the mean of a model and one's own on samples of one's own: so many times "
        "that of the initial model, and the neighbours' median on top; beyond, a quarter of the way is gone "
        "the first time, and then the sender's models are refused",
    )
    loss_samples: int = Field(
        64, ge=0, description="number of samples that loss is measured on; 0: not measured"
    )
    unmoved: float = Field(
        0.02,
        ge=0,
        description="movement of a sender between messages, as a share of its distance, that counts as none",
    )
    unmoved_times: int = Field(
        2, gt=0, description="messages in a row after which a sender that has not moved is refused"
    )
    unmoved_distance: float = Field(
        0.02,
        ge=0,
        description="distance, as a share of the norm of the peer's own model, within which a sender may stay put",
    )
    pace: float = Field(
        10.0,
        gt=0,
        description="training steps per second that are plausible if no other peer vouches for them",
    )
    age_slack: int = Field(
        16,
        ge=0,
        description="training steps above the third quartile of the neighbours' ages that are credited",
    )
    fair_shares: float = Field(
        4.0, ge=1, description="multiple of its fair share of the merges that one sender may have"
    )
    offences: int = Field(3, gt=0, description="refusals after which a sender is quarantined")
    quarantine: float = Field(
        60.0, gt=0, description="seconds of the first quarantine; each later one is twice as long"
    )
    longest_quarantine: float = Field(3600.0, gt=0, description="seconds of the longest quarantine")
    forgiveness: float = Field(120.0, gt=0, description="seconds in which one offence is forgiven")
